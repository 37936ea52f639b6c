"""Goes on from the trained tiny base, which keeps its sight; how it speaks and what it hears changes.

    python tools/train.py configs/sa2va_tiny_base_on.py
    python tools/write_tiny_base.py configs/sa2va_tiny_base_on.py \
        work_dirs/sa2va_tiny_base_on/iter_1200.pth OUT

How the shipped base was made: projects/mask_caption_sft/tiny_world/base/README.md.
"""

from mmengine.config import read_base
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR

from projects.mask_caption_sft.sa2va.sa2va import Sa2VA

with read_base():
    from .sa2va_tiny_base import *

model['sa2va'] = dict(type=Sa2VA, base='projects/mask_caption_sft/tiny_world/base', train_all=True)
# The codes of words are not part of a base.
model['phases'] = [dict(iters=1200, prompt='image', caption=True)]
train_dataloader['dataset'].update(seed=2)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=50, end=1200, eta_min=2e-5),
]
optim_wrapper['optimizer'].update(lr=5e-4)
train_cfg.update(max_iters=1200)
