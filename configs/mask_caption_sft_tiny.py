"""The whole loop on the tiny world: two CPU cores, minutes.

bash tools/quickstart.sh
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper

from projects.mask_caption_sft.hooks.sample_log_hook import SampleLogHook
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook
from projects.mask_caption_sft.hooks.val_before_train_hook import ValBeforeTrainHook

with read_base():
    from ._base_.datasets.tiny_world import *
    from ._base_.default_runtime import *
    from ._base_.models.sa2va_tiny import *
    from ._base_.schedules.adamw_cosine_1e import *

# The segmenter of the tiny base is good and its captions are fair: most of the change belongs to the
# language model.
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=GroupedOptimWrapperConstructor,
    optimizer=dict(type=AdamW, lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={'grounding_encoder': dict(lr_mult=0.2), 'text_hidden_fcs': dict(lr_mult=0.2)}
    ),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=1,
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type=CosineAnnealingLR, eta_min=2e-5, by_epoch=False, begin=20, end=200),
]
train_cfg = dict(type=DrawTrainLoop, max_iters=200, val_interval=100)
custom_hooks = [
    dict(type=TeacherEMAHook, momentum=0.01),
    dict(type=SkipReportHook, max_broken_ratio=0.05),
    dict(type=SampleLogHook, num_samples=8, interval=100, datasets=['sa1b_val']),
    dict(type=ValBeforeTrainHook),
]
default_hooks['checkpoint'].update(interval_updates=100)
