"""Whole captions are compared, and the advantage is not divided by its spread in the group."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives']['weighted_captions'].update(
    weighting=dict(type=AdvantageWeights, normalize=False), weight=5.0, words=None
)
