"""The two-stage loop from the released Sa2VA-4B: 8 GPUs x 2 images x 4 accumulation steps, 1 epoch.

bash tools/dist_train.sh configs/mask_caption_sft_4b.py 8

It states no size and no template: they are those of model.sa2va.base.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.mask_caption_mix import *
    from ._base_.datasets.mask_caption_val import *
    from ._base_.default_runtime import *
    from ._base_.loop_hooks import *
    from ._base_.models.sa2va_4b import *
    from ._base_.schedules.adamw_cosine_1e import *
