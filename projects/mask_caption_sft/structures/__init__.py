"""Plain data with shapes: what datasets, models and metrics hand each other."""

from .batch import RegionBatch
from .caption import CaptionIds, CaptionLogits
from .features import ImageFeatures, Segmentation
from .prediction import RegionPrediction
from .region import BrokenRecord, RegionSample, View

__all__ = [
    'BrokenRecord',
    'CaptionIds',
    'CaptionLogits',
    'ImageFeatures',
    'RegionBatch',
    'RegionPrediction',
    'RegionSample',
    'Segmentation',
    'View',
]
