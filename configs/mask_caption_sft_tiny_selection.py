"""Ablation: selection alone, the best of four captions; no gradient through text."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(teacher_iou=None)
