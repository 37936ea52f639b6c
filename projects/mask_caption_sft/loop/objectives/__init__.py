"""What the loop teaches, one file each; the config lists them."""

from .best_of_k import BestOfK
from .human_expressions import HumanExpressions
from .near_start import NearStart
from .objective import Objective
from .segment_captions import SegmentCaptions
from .teacher_iou import TeacherIoU
from .weighted_captions import WeightedCaptions

__all__ = [
    'BestOfK',
    'HumanExpressions',
    'NearStart',
    'Objective',
    'SegmentCaptions',
    'TeacherIoU',
    'WeightedCaptions',
]
