"""GRPO: captions are compared by the IoU from the whole, and nothing asks what a single word adds."""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives']['weighted_captions'].update(words=None)
