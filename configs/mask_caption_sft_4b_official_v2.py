"""The figures of upstream's v2 repository, measured as its scripts measure them; for tools/test.py.

    python tools/test.py configs/mask_caption_sft_4b_official_v2.py pretrained/Sa2VA-4B

As upstream's `sa2va_eval_refcoco.py`: an expression without [SEG] in the answer counts as an empty mask in
cIoU, too, where v1 leaves it out. v2 has no captions of regions. Otherwise as the config of v1's figures.
Besides, v2 unites the masks of several [SEG] in one answer, while here the first one's counts.
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b_official import *

test_evaluator = [
    dict(type=RefSegMetric, datasets=[name], prefix=name, missing='empty') for name in official_splits
]
