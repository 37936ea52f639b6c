"""Ablation: without what keeps the language intact, the KL to the start."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(near_start=None)
