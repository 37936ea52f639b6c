"""Settings of the loop that can be searched, on the tiny world.

python tools/search.py configs/mask_caption_sft_tiny_search.py --trials 20 --jobs 2
"""

from mmengine.config import read_base

with read_base():
    from .mask_caption_sft_tiny import *

# By dotted key: a range, or choices.
search_space = {
    'optim_wrapper.optimizer.lr': dict(low=1e-4, high=2e-3, log=True),
    'model.num_captions': [2, 4, 8],
    'model.objectives.weighted_captions.weight': dict(low=1.0, high=25.0, log=True),
    'model.objectives.segment_captions.min_confidence': dict(low=0.0, high=0.8),
    'custom_hooks.0.momentum': dict(low=1e-4, high=0.05, log=True),
}
