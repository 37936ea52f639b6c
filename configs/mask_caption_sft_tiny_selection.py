"""Selection from the start, as in configs/mask_caption_sft_4b.py: the best caption, and a gate by IoU."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.objectives import BestOfK

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(
    weighted_captions=None,
    best_of_k=dict(type=BestOfK, weight=5.0, margin_iou=0.05, min_iou=0.5),
)
model['objectives']['segment_captions'].update(gate_iou=0.5, min_confidence=0.0)
model['objectives']['human_expressions'].update(caption_weight=1.0)
model['objectives']['near_start'].update(weight=0.05)
model['periods'] = {}
