"""The two-stage loop from the released Sa2VA-8B (InternVL2.5-8B, InternLM2.5-7B); otherwise as the 4B run.

bash tools/dist_train.sh configs/mask_caption_sft_8b.py 8
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b import *

model['sa2va'].update(base='pretrained/Sa2VA-8B', activation_checkpointing=True)
