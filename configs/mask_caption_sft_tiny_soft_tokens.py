"""Ablation: soft tokens alone."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(weighted_captions=None)
