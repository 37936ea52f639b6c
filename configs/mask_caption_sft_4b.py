"""The two-stage loop from the released Sa2VA-4B: 8 GPUs x 2 images x 4 accumulation steps, 1 epoch.

bash tools/dist_train.sh configs/mask_caption_sft_4b.py 8
"""

from mmengine.config import read_base

from projects.mask_caption_sft.hooks.sample_log_hook import SampleLogHook
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook

with read_base():
    from ._base_.datasets.mask_caption_mix import *
    from ._base_.datasets.mask_caption_val import *
    from ._base_.default_runtime import *
    from ._base_.models.sa2va_4b import *
    from ._base_.schedules.adamw_cosine_1e import *

custom_hooks = [
    dict(type=TeacherEMAHook, momentum=0.001),
    dict(type=SkipReportHook, max_broken_ratio=0.05),
    dict(type=SampleLogHook),
]
