"""The segmenter learns from captions from which the teacher finds the region, as in the 4B config."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives']['segment_captions'].update(gate_iou=0.5, min_confidence=0.0)
