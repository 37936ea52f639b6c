"""Trains a small Sa2VA of the tiny world from scratch, on scenes drawn as it goes, to hear every word.

    python tools/train.py configs/sa2va_tiny_base.py
    python tools/write_tiny_base.py configs/sa2va_tiny_base.py work_dirs/sa2va_tiny_base/iter_6200.pth OUT

After phase 1, SAM 2's features name the right size, color, shape and place of 0.95, 1.00, 0.97 and 0.97 of
the regions; 400 iterations later masks from codes have an IoU of about 0.7, on the decoder's grid, and after
iteration 5100 masks from texts one of 0.88. How the shipped base was made:
projects/mask_caption_sft/tiny_world/base/README.md.
"""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.optim.scheduler import CosineRestartLR, LinearLR
from torch.optim import AdamW

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper
from projects.mask_caption_sft.engine.loops import DrawTrainLoop
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from projects.mask_caption_sft.tiny_world.base_training import DrawnScenes, Sa2VABaseTraining
from projects.mask_caption_sft.tiny_world.scene import UNHEARD, UNSAID

with read_base():
    from ._base_.default_runtime import *

#: Iterations of each phase.
see, listen, read, together = 1200, 2500, 500, 2000
model = dict(
    type=Sa2VABaseTraining,
    # At a width of 64 a mask is a product of 8 channels: too few to tell things apart by their words.
    sa2va=dict(type=new_sa2va, seed=0, train_all=True, sizes=dict(grounding_width=128)),
    phases=[
        dict(iters=see, see=('grounding', 'vit')),
        dict(iters=listen, see=('vit',), prompt='codes', single_ratio=0.7),
        dict(iters=read, see=('vit',), prompt='text', code_weight=1.0),
        dict(iters=together, see=('vit',), prompt='image', code_weight=0.5, caption=True),
    ],
    # The gaps that the loop closes: words it hears and does not say, words it says and does not hear.
    captions=dict(unsaid=UNSAID, known_ratio=0.15),
    unheard=UNHEARD,
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=collate_regions),
    dataset=dict(
        type=DrawnScenes,
        length=10**6,
        seed=0,
        # This run makes the base: there is none yet from which the sizes could follow (see TINY_SIZES).
        pipeline=[
            dict(
                type=PackRegions,
                image_size=168,
                grid_size=6,
                grounding_size=128,
                max_tiles=1,
                mask_sampling='nearest-exact',
            )
        ],
    ),
)
optim_wrapper = dict(
    type=GuardedOptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
warmup = 100
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(
        type=CosineRestartLR,
        by_epoch=False,
        begin=warmup,
        periods=[see - warmup, listen, read, together],
        restart_weights=[1, 1, 1, 0.7],
        eta_min=2e-5,
    ),
]
train_cfg = dict(type=DrawTrainLoop, max_iters=see + listen + read + together)
default_hooks['logger'].update(interval=25)
log_processor.update(window_size=25)
default_hooks['checkpoint'].update(interval_updates=300, max_keep_ckpts=40, save_best=None)
default_hooks.pop('early_stopping')
