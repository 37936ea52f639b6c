"""One file per format on disk; every dataset yields RegionSample."""

from .collate import collate_regions
from .formats.openimages import OpenImages
from .formats.refcoco import RefCOCO
from .formats.sa1b import SA1B
from .formats.sav import SAVPairs
from .mix import RegionMix
from .packs.read import PackedRegions

__all__ = ['SA1B', 'OpenImages', 'PackedRegions', 'RefCOCO', 'RegionMix', 'SAVPairs', 'collate_regions']
