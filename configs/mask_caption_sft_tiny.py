"""The whole loop on the tiny world: two CPU cores, minutes.

bash tools/quickstart.sh
"""

from mmengine.config import read_base

from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper
from projects.mask_caption_sft.hooks.interpolate_hook import InterpolateHook
from projects.mask_caption_sft.hooks.val_before_train_hook import ValBeforeTrainHook

with read_base():
    from ._base_.datasets.tiny_world import *
    from ._base_.default_runtime import *
    from ._base_.loop_hooks import *
    from ._base_.models.sa2va_tiny import *
    from ._base_.schedules.adamw_cosine_1e import *

# float32, an update per iteration.
optim_wrapper.pop('dtype')
optim_wrapper.pop('loss_scale')
optim_wrapper.update(type=GuardedOptimWrapper, accumulative_counts=1)
optim_wrapper['optimizer'].update(lr=8e-4, weight_decay=0.01)
# 400 iterations, 20 of them warm-up.
train_cfg = dict(type=DrawTrainLoop, max_iters=400, val_interval=200)
param_scheduler[0].update(start_factor=0.05, end_ratio=0.05)
param_scheduler[1].update(begin_ratio=0.05, eta_min=2e-5)
custom_hooks[2].update(interval=100, datasets=['sa1b_val'])
custom_hooks += [dict(type=ValBeforeTrainHook), dict(type=InterpolateHook, share=0.6)]
default_hooks['checkpoint'].update(interval_updates=100)
