"""The two-stage loop from the released Sa2VA-26B (InternVL2.5-26B, InternLM2.5-20B, InternViT-6B).

    bash tools/dist_train.sh configs/mask_caption_sft_26b.py 8

Its frozen matrices are split over the GPUs: 51 GB in bfloat16 do not fit on one beside what is trained.
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b_sharded import *

model['sa2va'].update(base='pretrained/Sa2VA-26B')
