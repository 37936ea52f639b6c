"""The two-stage loop from the released Sa2VA-Qwen3-VL-4B-SAM3, which has SAM 3; otherwise as on Qwen3-VL-4B.

bash tools/dist_train.sh configs/mask_caption_sft_qwen3_vl_4b_sam3.py 8
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_qwen3_vl_4b import *

model['sa2va'].update(base='pretrained/Sa2VA-Qwen3-VL-4B-SAM3')
