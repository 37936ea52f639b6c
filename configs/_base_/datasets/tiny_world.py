"""The tiny world's four datasets, in the mix and for validation."""

from mmengine.config import read_base

from projects.mask_caption_sft.datasets import SA1B
from projects.mask_caption_sft.tiny_world.scene import UNHEARD
from projects.mask_caption_sft.tiny_world.truth_metric import TruthMetric

with read_base():
    from .mask_caption_mix import *
    from .mask_caption_val import *

# One tile, or the cells of an image as large as it is.
tiny_cut = dict(max_tiles=1, min_pixels=32 * 32, max_pixels=64 * 32 * 32)
tiny_val_packing = dict(type=PackRegions, **tiny_cut, full_masks=True)
tiny_pipeline = [
    dict(type=ChooseRegions, max_regions=4),
    # A crop enlarges what it shows. Below 0.89 some small things would be large ones, and their words false.
    dict(type=SecondView, crop_ratio=(0.9, 1.0), color_ratio=0.1),
    dict(type=PackRegions, **tiny_cut, mask_sampling='nearest-exact'),
]
tiny_spoken_pipeline = [
    tiny_pipeline[0],
    dict(type=SecondView, crop_ratio=(1.0, 1.0), color_ratio=0.1),
    tiny_pipeline[2],
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
    refcoco=dict(
        type=RefCOCO, data_root='data/tiny_world/refcoco', weight=1.0, pipeline=tiny_spoken_pipeline
    ),
)
val_dataloader.update(batch_size=8, num_workers=0)
val_dataloader['dataset']['datasets'] = dict(
    refcoco_val=dict(
        type=RefCOCO,
        data_root='data/tiny_world/refcoco',
        split='val',
        every_expression=True,
        pipeline=[dict(type=ChooseRegions, max_regions=None), tiny_val_packing],
    ),
    sa1b_val=dict(
        type=SA1B,
        data_root='data/tiny_world/val/sa1b',
        pipeline=[
            dict(type=ChooseRegions, max_regions=None),
            dict(type=SecondView, color_ratio=0.1),
            tiny_val_packing,
        ],
    ),
    sav_val=dict(
        type=SAVPairs,
        data_root='data/tiny_world/val/sav',
        pipeline=[dict(type=ChooseRegions, max_regions=None), tiny_val_packing],
    ),
)
val_evaluator += [
    # Words that the tiny base does not hear at the start.
    dict(type=RefSegMetric, prefix='ref_seg_unheard', holds=UNHEARD),
    dict(type=RefSegMetric, prefix='ref_seg_heard', lacks=UNHEARD),
    dict(
        type=TruthMetric,
        scenes=dict(
            sa1b_val='data/tiny_world/val/sa1b_scenes.json', sav_val='data/tiny_world/val/sav_scenes.json'
        ),
    ),
]
test_dataloader, test_evaluator = val_dataloader, val_evaluator
