"""The 4B run on one card of 24 GB: as many images per update as on 8 cards, 8 x 2 x 4 = 1 x 1 x 64.

    python tools/train.py configs/mask_caption_sft_4b_24gb.py

Counted, not measured on a card: 17.1 GiB with the four regions per image of the 4B run, 12.2 of them
weights and optimizer. The rest of the card is for the allocator's waste, workspaces of kernels and CUDA's
own. If that is not enough, lower max_regions in the pipelines.

One thing is not the same: a loss is averaged over the regions of one iteration, of 1 image here and of 16
there. See docs/results.md, "On one card of 24 GB".
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_4b import *

train_dataloader.update(batch_size=1)
model['sa2va'].update(activation_checkpointing=True)
optim_wrapper.update(accumulative_counts=64)
# In iterations, of one image: what 10,000 iterations on 8 cards see.
train_cfg.update(val_interval=160_000)
