"""Ablation: captions are taught by the gradient of the teacher's IoU through soft tokens, not compared."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.bridges import SoftTokenBridge
from projects.mask_caption_sft.loop.objectives import TeacherIoU

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(
    weighted_captions=None,
    teacher_iou=dict(
        type=TeacherIoU, bridge=dict(type=SoftTokenBridge, temperature=0.5, top_k=50), iou_weight=1.0
    ),
)
model['periods'] = dict(teacher_iou=comparing)
