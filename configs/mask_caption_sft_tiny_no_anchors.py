"""Ablation: without the terms that keep the language intact: no KL to the start, no caption loss."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(near_start=None)
model['objectives']['human_expressions'].update(caption_weight=0.0)
