"""SA-V, SA-1B, OpenImages and RefCOCO: the training mix. Folder layouts: docs/datasets.md."""

from projects.mask_caption_sft.datasets import (
    SA1B,
    OpenImages,
    RefCOCO,
    RegionMix,
    SAVPairs,
    collate_regions,
)
from projects.mask_caption_sft.datasets.mix import DrawSampler
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView

sizes = dict(type=PackRegions, image_size=448, grounding_size=1024, grid_size=16, max_tiles=6, mask_size=256)
pipeline = [
    dict(type=ChooseRegions, max_regions=1, min_area_ratio=0.001),
    dict(type=SecondView, crop_ratio=(0.6, 1.0), color_ratio=0.2),
    sizes,
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type=DrawSampler),
    collate_fn=dict(type=collate_regions),
    dataset=dict(
        type=RegionMix,
        seed=0,
        datasets=dict(
            sav=dict(
                type=SAVPairs,
                data_root='data/sav_pairs',
                channel_order='bgr',
                weight=4.0,
                pipeline=pipeline,
            ),
            sa1b=dict(type=SA1B, data_root='data/sa1b', max_samples=500_000, weight=3.0, pipeline=pipeline),
            openimages=dict(
                type=OpenImages,
                data_root='data/openimages',
                max_samples=500_000,
                weight=1.0,
                pipeline=pipeline,
            ),
            refcoco=dict(
                type=RefCOCO,
                data_root='data/ref_seg/refcoco',
                split_by='unc',
                weight=1.0,
                pipeline=pipeline,
            ),
            refcoco_plus=dict(
                type=RefCOCO,
                data_root='data/ref_seg/refcoco+',
                split_by='unc',
                weight=1.0,
                pipeline=pipeline,
            ),
            refcocog=dict(
                type=RefCOCO,
                data_root='data/ref_seg/refcocog',
                split_by='umd',
                weight=1.0,
                pipeline=pipeline,
            ),
        ),
    ),
)
