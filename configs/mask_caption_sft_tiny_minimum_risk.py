"""Minimum risk over the whole captions of a region."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.caption_weights import MinimumRiskWeights

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives']['weighted_captions']['weighting'] = dict(type=MinimumRiskWeights, sharpness=0.3)
model['objectives']['weighted_captions'].update(weight=5.0, by_token=False, words=None)
