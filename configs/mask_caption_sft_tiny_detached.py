"""Baseline: the loop without a gradient through the text. Masks teach the segmenter, not the caption."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.bridges import DetachedBridge

with read_base():
    from .mask_caption_sft_tiny_soft_tokens import *

model['objectives']['teacher_iou']['bridge'].update(type=DetachedBridge)
