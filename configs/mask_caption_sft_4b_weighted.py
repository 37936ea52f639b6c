"""The 4B run with the objectives that taught most on the tiny world (docs/results.md).

Not tried at this size. First the segmenter listens to the describer, which is held; then all K captions are
taught by what each is worth instead of the best one alone, which costs a score of each by the student.
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
        type=WeightedCaptions,
        weighting=dict(type=AdvantageWeights, normalize=True),
        weight=2.0,
        min_spread=0.02,
    ),
    human_masks=dict(type=HumanExpressions, caption_weight=0.0, iou_weight=1.0),
    hold_describer=dict(type=NearStart, weight=1.0),
)
# The tiny world's threshold is 0.5, for captions of seven tokens; the longer a caption, the less likely its
# least likely token. signal/sure_ratio in the log says how many pass: on the tiny world a third.
model['objectives']['segment_captions'].update(gate_iou=0.0, min_confidence=0.1)
listening, comparing = (0.0, 0.5), (0.5, 1.0)
model['periods'] = dict(
    human_masks=listening,
    hold_describer=listening,
    human_expressions=comparing,
    teacher_iou=comparing,
    weighted_captions=comparing,
    near_start=comparing,
)
