"""RAFT: the best of a region's captions is taught, however good or bad it is."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.objectives import BestOfK

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(
    weighted_captions=None, best_of_k=dict(type=BestOfK, weight=5.0, margin_iou=-1.0, min_iou=0.0)
)
model['periods'].update(best_of_k=comparing)
