"""The tiny world's base on Qwen3-VL: as configs/sa2va_tiny_base.py, from the other base's SAM 2.

    python tools/train.py configs/sa2va_tiny_qwen3_vl_base.py
    python tools/write_tiny_base.py configs/sa2va_tiny_qwen3_vl_base.py \
        work_dirs/sa2va_tiny_qwen3_vl_base/iter_3200.pth OUT

SAM 2 has learned to listen already, so that phase is short: the codes are new.
"""

from mmengine.config import read_base

from projects.mask_caption_sft.tiny_world.qwen_base import new_qwen3_vl

with read_base():
    from .sa2va_tiny_base import *

see, listen, read, together = 500, 400, 800, 1500
model['sa2va'] = dict(
    type=new_qwen3_vl, seed=0, train_all=True, grounding_from='projects/mask_caption_sft/tiny_world/base'
)
model['phases'][0].update(iters=see, see=('vit',))
model['phases'][1].update(iters=listen)
model['phases'][2].update(iters=read)
model['phases'][3].update(iters=together)
train_dataloader['dataset']['pipeline'][0].update(
    image_cut='cells', image_size=32, min_pixels=32 * 32, grid_size=1, resampling='torch'
)
param_scheduler[1].update(periods=[see - warmup, listen, read, together])
train_cfg.update(max_iters=see + listen + read + together)
