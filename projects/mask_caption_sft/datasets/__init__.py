"""One file per format on disk; every dataset yields RegionSample."""

from .collate import collate_regions
from .mix import RegionMix
from .openimages import OpenImages
from .refcoco import RefCOCO
from .sa1b import SA1B
from .sav import SAVPairs

__all__ = ['SA1B', 'OpenImages', 'RefCOCO', 'RegionMix', 'SAVPairs', 'collate_regions']
