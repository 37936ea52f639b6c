"""One file per format on disk; every dataset yields RegionSample."""

from .collate import collate_regions
from .formats.coco import COCOInstances
from .formats.mask_folder import MaskFolder
from .formats.mask_video import MaskVideo
from .formats.openimages import OpenImages
from .formats.refcoco import RefCOCO
from .formats.sa1b import SA1B
from .formats.sav import SAVPairs
from .mix import RegionMix
from .packs.read import PackedRegions

__all__ = [
    'SA1B', 'COCOInstances', 'MaskFolder', 'MaskVideo', 'OpenImages', 'PackedRegions', 'RefCOCO', 'RegionMix',
    'SAVPairs', 'collate_regions',
]  # fmt: skip
