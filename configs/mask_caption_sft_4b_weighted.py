"""The 4B run with the objective that taught the truest captions on the tiny world (docs/results.md).

All K captions are taught by what each is worth instead of the best one alone, which costs a score of
each by the student; and the segmenter learns from captions that the describer is sure of. Not tried at
this size.
"""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.objectives import WeightedCaptions

with read_base():
    from .mask_caption_sft_4b import *

model['objectives'].update(
    best_of_k=None,
    # Regions whose captions are all as good or as bad cost no score.
    weighted_captions=dict(
        type=WeightedCaptions, weighting=dict(type=AdvantageWeights), weight=5.0, min_spread=0.02
    ),
)
model['objectives']['segment_captions'].update(gate_iou=0.0, min_confidence=0.5)
