"""The two-stage loop from the released Sa2VA-Qwen2_5-VL-7B; otherwise as the 4B run.

bash tools/dist_train.sh configs/mask_caption_sft_qwen2_5_vl_7b.py 8
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b import *

# Upstream's training has no region in it: the embeddings of the two marks learn here (docs/backbones.md).
model['sa2va'].update(
    base='pretrained/Sa2VA-Qwen2_5-VL-7B',
    train_tokens=['<vp>', '</vp>'],
)
