"""First the segmenter learns the words that the describer says, then captions are compared.

In the first half of the run the describer is held: a word that it says rightly and nobody hears would be
unlearned by comparing captions. The second half is the quickstart's loop.
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

model['objectives'].update(
    human_masks=dict(type=HumanExpressions, caption_weight=0.0, iou_weight=1.0),
    hold_describer=dict(type=NearStart, weight=1.0),
)
model['periods'] = dict(
    human_masks=(0.0, 0.5),
    hold_describer=(0.0, 0.5),
    human_expressions=(0.5, 1.0),
    teacher_iou=(0.5, 1.0),
    weighted_captions=(0.5, 1.0),
    near_start=(0.5, 1.0),
)
train_cfg = dict(type=DrawTrainLoop, max_iters=400, val_interval=200)
