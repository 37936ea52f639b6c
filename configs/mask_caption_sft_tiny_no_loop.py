"""Baseline: no loop. The same human expressions are taught, for as many updates; masks alone are unused."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(
    weighted_captions=None,
    segment_captions=None,
    near_start=None,
)
model['objectives']['human_expressions'].update(caption_weight=1.0)
model['periods'] = {}
