"""The 4B run with the language model's frozen matrices split over the GPUs, for larger models.

    bash tools/dist_train.sh configs/mask_caption_sft_4b_sharded.py 8
    bash tools/dist_train.sh configs/mask_caption_sft_4b_sharded.py 8 --cfg-options \
        model.sa2va.base=pretrained/Sa2VA-8B

Of 5.2 GiB a GPU keeps its part and one layer, on 8 GPUs 4.4 GiB less. The price: every layer is gathered in
every pass, and each token of a caption is a pass. See docs/results.md, "A base split over ranks".
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b import *

model.update(shard_frozen=True)
model['sa2va'].update(activation_checkpointing=True)
