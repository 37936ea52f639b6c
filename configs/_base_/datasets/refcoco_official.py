"""The splits that papers report: RefCOCO, RefCOCO+, RefCOCOg, every expression, one figure per split.

Gives `refcoco_val/cIoU`, `refcoco_testA/cIoU`, ..., `refcocog_test/cIoU`, and
`refcocog_val_caption/CIDEr` and `/METEOR`.
"""

from mmengine.dataset import DefaultSampler

from projects.mask_caption_sft.datasets import RefCOCO, collate_regions
from projects.mask_caption_sft.datasets.mix import RegionConcat
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions
from projects.mask_caption_sft.evaluation.ref_seg_metric import RefSegMetric
from projects.mask_caption_sft.evaluation.region_caption_metric import RegionCaptionMetric

official_pipeline = [
    dict(type=ChooseRegions, max_regions=None),
    dict(type=PackRegions, max_tiles=12, full_masks=True),
]
every = dict(type=RefCOCO, every_expression=True, pipeline=official_pipeline)
unc = dict(data_root='data/ref_seg/refcoco', split_by='unc', **every)
unc_plus = dict(data_root='data/ref_seg/refcoco+', split_by='unc', **every)
umd = dict(data_root='data/ref_seg/refcocog', split_by='umd', **every)
official_splits = dict(
    refcoco_val=dict(split='val', **unc),
    refcoco_testA=dict(split='testA', **unc),
    refcoco_testB=dict(split='testB', **unc),
    refcoco_plus_val=dict(split='val', **unc_plus),
    refcoco_plus_testA=dict(split='testA', **unc_plus),
    refcoco_plus_testB=dict(split='testB', **unc_plus),
    refcocog_val=dict(split='val', **umd),
    refcocog_test=dict(split='test', **umd),
)
official_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
    collate_fn=dict(type=collate_regions),
    dataset=dict(type=RegionConcat, datasets=official_splits),
)
official_evaluator = [
    dict(type=RefSegMetric, datasets=[name], prefix=name, missing='left_out') for name in official_splits
]
official_evaluator.append(
    dict(
        type=RegionCaptionMetric,
        datasets=['refcocog_val'],
        prefix='refcocog_val_caption',
        protocol='upstream',
    )
)
