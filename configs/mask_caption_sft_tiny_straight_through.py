"""Ablation: straight-through tokens instead of soft ones (biased gradient)."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.bridges import StraightThroughBridge

with read_base():
    from .mask_caption_sft_tiny_soft_tokens import *

model['objectives']['teacher_iou']['bridge'] = dict(type=StraightThroughBridge)
