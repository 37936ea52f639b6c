"""The small Sa2VA of the tiny world: the same model with smaller numbers, float32 on a CPU."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.objectives import WeightedCaptions

with read_base():
    from .sa2va_4b import *

model.update(max_caption_len=10, signal_interval=10, predict_dtype=None)
model['segmentation_losses'].update(num_points=0)
model['sa2va'].update(base='data/tiny_world/sa2va_tiny', base_dtype='float32', activation_checkpointing=False)
model['sa2va']['lora'].update(r=16, lora_alpha=32, lora_dropout=0.0)
# Of all that was tried here this teaches the truest captions (docs/results.md, "What teaches"): of K captions
# those that are better than the region's mean are taught, the others unlearned; and the segmenter learns
# from captions that the describer is sure of, found or not.
model['objectives'].update(
    best_of_k=None,
    weighted_captions=dict(type=WeightedCaptions, weighting=dict(type=AdvantageWeights), weight=5.0),
)
model['objectives']['segment_captions'].update(gate_iou=0.0, min_confidence=0.5)
