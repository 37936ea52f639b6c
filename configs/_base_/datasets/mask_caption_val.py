"""Validation: RefCOCO expressions, and held-out masks without text."""

from mmengine.dataset import DefaultSampler

from projects.mask_caption_sft.datasets import SA1B, RefCOCO, SAVPairs, collate_regions
from projects.mask_caption_sft.datasets.mix import RegionConcat
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.evaluation.mask_cycle_metric import MaskCycleMetric
from projects.mask_caption_sft.evaluation.ref_seg_metric import RefSegMetric
from projects.mask_caption_sft.evaluation.region_caption_metric import RegionCaptionMetric

val_packing = dict(type=PackRegions, max_tiles=12, full_masks=True)
val_dataloader = dict(
    batch_size=2,  # the shuffled control takes another region's caption
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    collate_fn=dict(type=collate_regions),
    dataset=dict(
        type=RegionConcat,
        datasets=dict(
            refcoco_val=dict(
                type=RefCOCO,
                data_root='data/ref_seg/refcoco',
                split_by='unc',
                split='val',
                every_expression=True,
                pipeline=[dict(type=ChooseRegions, max_regions=None), val_packing],
            ),
            # The only validation images with several regions, so that the right one has to be picked.
            sa1b_val=dict(
                type=SA1B,
                data_root='data/sa1b_val',
                max_samples=500,
                pipeline=[
                    dict(type=ChooseRegions, max_regions=8, min_area_ratio=0.001),
                    dict(type=SecondView),
                    val_packing,
                ],
            ),
            sav_val=dict(
                type=SAVPairs,
                data_root='data/sav_pairs_val',
                pipeline=[
                    dict(type=ChooseRegions, max_regions=None),
                    dict(type=SecondView),
                    val_packing,
                ],
            ),
        ),
    ),
)
val_evaluator = [
    dict(type=RefSegMetric),
    dict(type=RegionCaptionMetric),
    dict(type=MaskCycleMetric, datasets=['sa1b_val', 'sav_val']),
]
val_cfg = dict()
test_dataloader, test_evaluator = val_dataloader, val_evaluator
test_cfg = dict()
