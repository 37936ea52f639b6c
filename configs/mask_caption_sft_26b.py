"""The two-stage loop from the released Sa2VA-26B (InternVL2.5-26B, InternLM2.5-20B, InternViT-6B).

    bash tools/dist_train.sh configs/mask_caption_sft_26b.py 8

Its language model's frozen matrices are split over the GPUs; in bfloat16 the whole base takes 51 GB.
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b_sharded import *

model['sa2va'].update(base='pretrained/Sa2VA-26B')
