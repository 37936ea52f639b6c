"""AdamW, 4 iterations per update, cosine after a short warm-up, one epoch."""

from mmengine.optim import AmpOptimWrapper, CosineAnnealingLR, LinearLR
from torch.optim import AdamW

from projects.mask_caption_sft.engine.loops import DrawTrainLoop
from projects.mask_caption_sft.engine.optim_constructor import GroupedOptimWrapperConstructor

optim_wrapper = dict(
    type=AmpOptimWrapper,
    constructor=GroupedOptimWrapperConstructor,
    dtype='bfloat16',
    loss_scale=1.0,  # bf16 has float32's range
    optimizer=dict(type=AdamW, lr=1e-5, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=4,
)
param_scheduler = [
    dict(
        type=LinearLR,
        start_factor=1e-3,
        by_epoch=True,
        begin=0,
        end=0.03,
        convert_to_iter_based=True,
    ),
    dict(
        type=CosineAnnealingLR,
        eta_min=0.0,
        by_epoch=True,
        begin=0.03,
        end=1,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type=DrawTrainLoop, max_epochs=1, val_interval=10000)
