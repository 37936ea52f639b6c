"""The tiny world's four datasets, in the mix and for validation, at the tiny model's sizes."""

from mmengine.config import read_base

from projects.mask_caption_sft.datasets import SA1B

with read_base():
    from .mask_caption_mix import *
    from .mask_caption_val import *

_tiny = dict(image_size=168, grounding_size=128, grid_size=6, max_tiles=1)
tiny_sizes = dict(type=PackRegions, mask_size=32, mask_sampling='nearest-exact', **_tiny)
tiny_val_sizes = dict(type=PackRegions, mask_size=None, **_tiny)
tiny_pipeline = [
    dict(type=ChooseRegions, max_regions=4),
    dict(type=SecondView, color_ratio=0.1),
    tiny_sizes,
]

train_dataloader.update(batch_size=6, num_workers=1, pin_memory=False)
train_dataloader['dataset']['datasets'] = dict(
    sav=dict(type=SAVPairs, data_root='data/tiny_world/train/sav', weight=2.0, pipeline=tiny_pipeline),
    sa1b=dict(type=SA1B, data_root='data/tiny_world/train/sa1b', weight=2.0, pipeline=tiny_pipeline),
    openimages=dict(
        type=OpenImages,
        data_root='data/tiny_world/train/openimages',
        weight=1.0,
        pipeline=tiny_pipeline,
    ),
    refcoco=dict(type=RefCOCO, data_root='data/tiny_world/refcoco', weight=1.0, pipeline=tiny_pipeline),
)
val_dataloader.update(batch_size=8, num_workers=0)
val_dataloader['dataset']['datasets'] = dict(
    refcoco_val=dict(
        type=RefCOCO,
        data_root='data/tiny_world/refcoco',
        split='val',
        every_expression=True,
        seed=0,
        pipeline=[dict(type=ChooseRegions, max_regions=None), tiny_val_sizes],
    ),
    sa1b_val=dict(
        type=SA1B,
        data_root='data/tiny_world/val/sa1b',
        seed=0,
        pipeline=[
            dict(type=ChooseRegions, max_regions=None),
            dict(type=SecondView, color_ratio=0.1),
            tiny_val_sizes,
        ],
    ),
    sav_val=dict(
        type=SAVPairs,
        data_root='data/tiny_world/val/sav',
        seed=0,
        pipeline=[dict(type=ChooseRegions, max_regions=None), tiny_val_sizes],
    ),
)
val_evaluator = [
    dict(type=RefSegMetric),
    dict(type=RegionCaptionMetric),
    dict(type=MaskCycleMetric, datasets=['sa1b_val', 'sav_val']),
]
test_dataloader, test_evaluator = val_dataloader, val_evaluator
