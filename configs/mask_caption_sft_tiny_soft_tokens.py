"""Ablation: soft tokens alone."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.bridges import SoftTokenBridge

with read_base():
    from .mask_caption_sft_tiny import *

model.update(bridges=[dict(type=SoftTokenBridge, temperature=0.5, top_k=50)])
