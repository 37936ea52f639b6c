"""Trains the small Sa2VA of the tiny world from scratch, on human expressions.

    python tools/make_tiny_world.py --out data/tiny_base_world --num-train 4000 \\
        --all-expressions --random-base
    python tools/train.py configs/sa2va_tiny_base.py

One core, about 15 minutes. What it gave: projects/mask_caption_sft/tiny_world/base/README.md.
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from projects.mask_caption_sft.datasets import RefCOCO, RegionMix, collate_regions
from projects.mask_caption_sft.datasets.mix import DrawSampler
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper
from projects.mask_caption_sft.engine.loops import DrawTrainLoop
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from projects.mask_caption_sft.tiny_world.base_training import Sa2VABaseTraining

with read_base():
    from ._base_.default_runtime import *

model = dict(
    type=Sa2VABaseTraining,
    sa2va=dict(type=new_sa2va, seed=0, train_all=True),
    text_only_iters=800,
    mixed_iters=2200,
    # The words of the human expressions in the loop's world; other words are left for masks to teach.
    rest_caption_ratio=0.12,
    caption_words=[
        'the',
        'thing',
        'small',
        'large',
        'red',
        'green',
        'blue',
        'circle',
        'square',
        'at',
        'top',
        'bottom',
        'left',
        'right',
        'middle',
    ],
)
# This run makes the base, so there is none yet from which the sizes could follow (TINY_SIZES has them).
packing = dict(
    type=PackRegions,
    image_size=168,
    grid_size=6,
    grounding_size=128,
    max_tiles=1,
    mask_sampling='nearest-exact',
)
train_dataloader = dict(
    batch_size=6,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=DrawSampler),
    collate_fn=dict(type=collate_regions),
    dataset=dict(
        type=RegionMix,
        datasets=dict(
            refcoco=dict(
                type=RefCOCO,
                data_root='data/tiny_base_world/refcoco',
                pipeline=[
                    dict(type=ChooseRegions, max_regions=4),
                    dict(type=SecondView, prob=0.5, color_ratio=0.1),
                    packing,
                ],
            )
        ),
    ),
)
optim_wrapper = dict(
    type=GuardedOptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-4, betas=(0.9, 0.98), weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, begin_ratio=0.0, end_ratio=1 / 60),
    dict(type=CosineAnnealingLR, eta_min=5e-6, by_epoch=False, begin_ratio=1 / 60, end_ratio=1.0),
]
train_cfg = dict(type=DrawTrainLoop, max_iters=6000)
default_hooks['logger'].update(interval=25)
default_hooks['checkpoint'].update(interval_updates=1000, max_keep_ckpts=1, save_best=None)
default_hooks.pop('early_stopping')
