"""First the segmenter listens to the describer, then the describer's captions are compared.

In the first half the segmenter learns the words that the describer says, from captions that the describer
was sure of, found or not (``segment_captions``). Meanwhile the start holds the describer: a word that it says
rightly and nobody hears would be unlearned as soon as captions are compared. In the second half, of K
captions those that are better than the region's mean are taught, the others unlearned; and each word by
what it adds.
"""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.objectives import WeightedCaptions
from projects.mask_caption_sft.loop.word_weights import WordWeights

with read_base():
    from .sa2va_4b import *

# Neither selection of the best nor a gradient through the text adds to it (docs/results.md).
model['objectives'].update(
    best_of_k=None,
    teacher_iou=None,
    weighted_captions=dict(
        type=WeightedCaptions,
        weighting=dict(type=AdvantageWeights, normalize=True),
        weight=2.0,
        words=dict(type=WordWeights, weight=6.0, full_iou=0.1, max_steps=6),
    ),
)
model['objectives']['segment_captions'].update(gate_iou=0.0, min_confidence=0.5)
# People's expressions are found, not written: they say no more than tells a thing apart, and captions would
# learn to leave sizes out (docs/results.md). The start, which holds what nothing speaks against, keeps them.
model['objectives']['human_expressions'].update(caption_weight=0.0)
model['objectives']['near_start'].update(weight=1.0)
comparing = (0.5, 1.0)
model['periods'] = dict(weighted_captions=comparing)
