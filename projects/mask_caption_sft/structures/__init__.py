"""Plain data with shapes: what datasets, models and metrics pass to each other."""

from .batch import RegionBatch
from .caption import CaptionLogits, Captions
from .features import ImageFeatures, RegionViews, Segmentation
from .piece import Piece, as_piece, join
from .prediction import RegionPrediction
from .region import BrokenRecord, RegionSample, UnusableRecordError, View
from .text import TextEmbeds

__all__ = [
    'BrokenRecord',
    'CaptionLogits',
    'Captions',
    'ImageFeatures',
    'Piece',
    'RegionBatch',
    'RegionPrediction',
    'RegionSample',
    'RegionViews',
    'Segmentation',
    'TextEmbeds',
    'UnusableRecordError',
    'View',
    'as_piece',
    'join',
]
