"""Ablation: without what keeps language alive: no KL to the start, no caption loss."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['loss_weights'].update(loss_kl=0.0, loss_caption=0.0)
