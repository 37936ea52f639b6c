"""Before the loop on Sa2VA-Qwen3-VL-4B: people's expressions of RefCOCO, both ways, to learn regions.

bash tools/dist_train.sh configs/mask_caption_sft_qwen3_vl_4b_first.py 8

Upstream's weights never saw a region in a prompt, so that the first captions would teach nothing. The loop
then starts from the export of this run (docs/backbones.md). Its length has not been tried.
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_qwen3_vl_4b import *

model['objectives'].update(best_of_k=None, teacher_iou=None, segment_captions=None, near_start=None)
train_dataloader['dataset']['datasets'].update(sav=None, sa1b=None, openimages=None)
train_cfg = dict(type=DrawTrainLoop, max_iters=4000, val_interval=2000)
