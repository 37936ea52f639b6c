"""Ablation: selection alone, the best of four captions; no gradient through text."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.bridges import SelectionBridge

with read_base():
    from .mask_caption_sft_tiny import *

model.update(bridges=[dict(type=SelectionBridge, num_captions=4)])
