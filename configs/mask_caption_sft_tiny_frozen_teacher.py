"""Ablation: a teacher that never moves (decay 1.0)."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

custom_hooks[0].update(momentum=0.0)
