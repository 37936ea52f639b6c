"""The 4B run on packs: one LMDB per dataset, made by tools/prepare_sav.py and tools/pack_dataset.py.

bash tools/dist_train.sh configs/mask_caption_sft_4b_packed.py 8
"""

from mmengine.config import read_base

from projects.mask_caption_sft.datasets import PackedRegions

with read_base():
    from .mask_caption_sft_4b import *

train_dataloader['dataset']['datasets'] = dict(
    sav=dict(type=PackedRegions, data_root='data/packs/sav', weight=4.0, pipeline=pipeline),
    sa1b=dict(type=PackedRegions, data_root='data/packs/sa1b', weight=3.0, pipeline=pipeline),
    openimages=dict(type=PackedRegions, data_root='data/packs/openimages', weight=1.0, pipeline=pipeline),
    refcoco=dict(type=PackedRegions, data_root='data/packs/refcoco', weight=1.0, pipeline=spoken_pipeline),
    refcoco_plus=dict(
        type=PackedRegions, data_root='data/packs/refcoco_plus', weight=1.0, pipeline=spoken_pipeline
    ),
    refcocog=dict(type=PackedRegions, data_root='data/packs/refcocog', weight=1.0, pipeline=spoken_pipeline),
)
