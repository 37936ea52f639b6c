"""The small Sa2VA of the tiny world: the same model with smaller numbers, float32 on a CPU."""

from mmengine.config import read_base

from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.objectives import WeightedCaptions

with read_base():
    from .sa2va_4b import *

model.update(max_caption_len=10, num_captions=8, signal_interval=10, predict_dtype=None)
model['segmentation_losses'].update(num_points=0)
model['sa2va'].update(
    base='data/tiny_world/sa2va_tiny',
    base_dtype='float32',
    # Words that the base does not say are learned sooner (docs/results.md, "What teaches").
    train_embeddings=True,
    activation_checkpointing=False,
)
model['sa2va']['lora'].update(r=16, lora_alpha=32, lora_dropout=0.0)
# First the segmenter listens: it learns the words that the describer says, from captions that the describer
# was sure of, found or not. The describer is held meanwhile: a word that it says rightly and nobody hears
# would be unlearned as soon as captions are compared. Then of K captions those that are better than the
# region's mean are taught, the others unlearned.
model['objectives'].update(
    best_of_k=None,
    weighted_captions=dict(
        type=WeightedCaptions, weighting=dict(type=AdvantageWeights, normalize=True), weight=2.0
    ),
    human_masks=dict(type=HumanExpressions, caption_weight=0.0, iou_weight=1.0),
    hold_describer=dict(type=NearStart, weight=1.0),
)
model['objectives']['segment_captions'].update(gate_iou=0.0, min_confidence=0.5)
listening, comparing = (0.0, 0.5), (0.5, 1.0)
model['periods'] = dict(
    human_masks=listening,
    hold_describer=listening,
    human_expressions=comparing,
    teacher_iou=comparing,
    weighted_captions=comparing,
    near_start=comparing,
)
