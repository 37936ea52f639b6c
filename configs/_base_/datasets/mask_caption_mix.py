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

pipeline = [
    # Both encoders run once per image, however many of its regions are trained on. The tiny world's
    # results were reached with four regions (docs/results.md); fewer were not tried. An SA-V pair has one.
    # The price: a crop has to keep all of them. With four points at random, 19 % of the second views are
    # the whole image in other colours; with one, 3 %.
    # Memory of a 4B step at batch size 2 with four, counted: 55.2 GiB, or 22.1 with all layers
    # run again (docs/results.md).
    # 0.1 % of the image is a quarter of a cell of the visual-prompt grid (1 of 256).
    dict(type=ChooseRegions, max_regions=4, min_area_ratio=0.001),
    dict(type=SecondView, crop_ratio=(0.6, 1.0), color_ratio=0.2),
    # Half of what validation and upstream allow: of tiles on InternVL, of pixels on Qwen-VL, which then has
    # up to 1024 tokens for an image. Within two grey levels of upstream's pixels, in a quarter of the time
    # (docs/results.md). Validation has them to the bit.
    dict(type=PackRegions, max_tiles=6, max_pixels=1024 * 28 * 28, resampling='torch'),
]
# What a person said holds in the whole image; in a crop "left" or "the second one" may be another thing.
spoken_pipeline = [
    pipeline[0],
    dict(type=SecondView, crop_ratio=(1.0, 1.0), color_ratio=0.2),
    pipeline[2],
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
                pipeline=spoken_pipeline,
            ),
            refcoco_plus=dict(
                type=RefCOCO,
                data_root='data/ref_seg/refcoco+',
                split_by='unc',
                weight=1.0,
                pipeline=spoken_pipeline,
            ),
            refcocog=dict(
                type=RefCOCO,
                data_root='data/ref_seg/refcocog',
                split_by='umd',
                weight=1.0,
                pipeline=spoken_pipeline,
            ),
        ),
    ),
)
