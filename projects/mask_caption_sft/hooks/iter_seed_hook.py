"""Gives each iteration its own random numbers, so that a resumed run continues exactly."""

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


class IterSeedHook(Hook):
    """Seeds torch before every iteration by (seed, iteration, rank).

    Dropout, sampled captions and sampled mask points then depend on the number of the
    iteration, not on what ran before it, such as a validation or a resume. Any seed that
    MMEngine accepts will do (up to 2^32 - 1, or None, for which it draws one).
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Seed CPU and GPU generators."""
        key = np.random.SeedSequence((runner.seed, runner.iter, get_rank()))
        torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
