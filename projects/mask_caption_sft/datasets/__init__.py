"""One file per format on disk; every dataset yields RegionSample."""

from .collate import collate_regions
from .mix import RegionMix
from .openimages import OpenImages
from .packed import PackedRegions
from .refcoco import RefCOCO
from .sa1b import SA1B
from .sav import SAVPairs

__all__ = ['SA1B', 'OpenImages', 'PackedRegions', 'RefCOCO', 'RegionMix', 'SAVPairs', 'collate_regions']
