"""Ablation: soft tokens and the best of four captions together."""

from mmengine.config import read_base

from projects.mask_caption_sft.models.bridges import SelectionBridge, SoftTokenBridge

with read_base():
    from .mask_caption_sft_tiny import *

model.update(
    bridges=[
        dict(type=SoftTokenBridge, temperature=0.5, top_k=50),
        dict(type=SelectionBridge, num_captions=4),
    ]
)
