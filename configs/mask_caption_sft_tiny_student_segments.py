"""Ablation: the student segments from its own captions; no teacher in stage 2."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model.update(segment_with='student')
