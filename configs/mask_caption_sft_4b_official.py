"""The figures that papers report, measured as upstream's scripts measure them; for tools/test.py.

    python tools/test.py configs/mask_caption_sft_4b_official.py pretrained/Sa2VA-4B
    bash tools/dist_test.sh configs/mask_caption_sft_4b_official.py work_dirs/run/iter_1000.pth 8

As upstream's `refcoco_eval.py` and `region_cap_refcocog_eval.py`:
- every expression of RefCOCO and RefCOCO+ (unc; val, testA, testB) and RefCOCOg (umd; val, test);
- the model writes its answer greedily; the mask is that of the first [SEG]; cIoU leaves out
  expressions without one in the answer (`invalid` counts them), gIoU (`mIoU`) counts them as 0;
- SAM 2's mean and std are rounded to bfloat16;
- captions of RefCOCOg val go through upstream's clean-up; METEOR and CIDEr are pycocoevalcap's, on
  texts tokenised as COCO captions are, one reference per item. They need Java.

What differs from upstream, on purpose:
- weights are float32 under bfloat16 autocast, where upstream casts the weights;
- polygons of one object that overlap are united; upstream adds them up and scores the overlap wrongly;
- a region smaller than a cell of the visual prompt's grid marks one cell, where upstream marks none;
- generation stops after 64 tokens of an answer without [SEG], or 128 of a caption; upstream allows 2048. A
  caption contains no special tokens; upstream removes them afterwards;
- regions and references are those of `refs(umd).p`; upstream reads a file made from them
  (`finetune_refcocog_val_with_mask.json`).
"""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.refcoco_official import *
    from .mask_caption_sft_4b import *

test_dataloader, test_evaluator = official_dataloader, official_evaluator
model.update(max_caption_len=128, predict_answers='written')
model['sa2va'].update(round_grounding_stats=True)
