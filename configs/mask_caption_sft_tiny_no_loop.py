"""Baseline: no loop. The same human expressions are taught, for as many updates; masks alone are unused."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(best_of_k=None, teacher_iou=None, segment_captions=None, near_start=None)
