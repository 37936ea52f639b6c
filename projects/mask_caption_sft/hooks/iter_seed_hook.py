"""Each iteration has random numbers of its own, so that a resumed run goes on exactly."""

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

_ITERS_PER_SEED = 2**31
_MAX_RANKS = 4096


class IterSeedHook(Hook):
    """Seeds torch before every iteration by (seed, iteration, rank).

    Dropout, sampled captions and sampled mask points then depend on the number of the
    iteration, not on what ran before it: a validation, a resume.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Seed CPU and GPU generators."""
        torch.manual_seed((runner.seed * _ITERS_PER_SEED + runner.iter) * _MAX_RANKS + get_rank())
