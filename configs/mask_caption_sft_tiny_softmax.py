"""All captions are taught as a whole, the better the more."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.caption_weights import SoftmaxWeights

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives']['weighted_captions']['weighting'] = dict(type=SoftmaxWeights, temperature=0.1)
model['objectives']['weighted_captions'].update(words=None)
