"""A training loop over draws, with its length given in epochs or iterations."""

from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ..datasets.mix import DrawSampler
from .schedules import in_iterations


class DrawTrainLoop(IterBasedTrainLoop):
    """MMEngine's iteration loop, with ``max_epochs`` as another way to say ``max_iters``.

    Schedules may state shares of the run (``begin_ratio``, ``end_ratio``): the Runner makes the loop before
    it builds the schedulers, and the loop, which knows the length, turns shares into iterations.

    A resumed run goes straight to its next draw: the parent would first read, and discard,
    every batch that has been trained on.

    Args:
        max_iters: Length in iterations. Give either this or ``max_epochs``.
        max_epochs: Length in passes over ``len(dataset)`` draws.
        kwargs: See ``IterBasedTrainLoop``.

    Raises:
        ValueError: Both or neither is given.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader,
        max_iters: int | None = None,
        max_epochs: float | None = None,
        **kwargs,
    ) -> None:
        if (max_iters is None) == (max_epochs is None):
            raise ValueError('Set either train_cfg.max_iters or train_cfg.max_epochs (the other to None).')
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        iters = max_iters if max_epochs is None else max(1, round(max_epochs * len(dataloader)))
        super().__init__(runner, dataloader, iters, **kwargs)
        runner.param_schedulers = in_iterations(runner.param_schedulers, self._max_iters)

    def run(self) -> None:
        """Train to the end, from the draw after the last one that was trained."""
        done, sampler = self._iter, self.dataloader.sampler
        if done > 0 and isinstance(sampler, DrawSampler):
            sampler.start = done * self.dataloader.batch_size * sampler.world_size
            self.runner.logger.info(f'Resuming at draw {sampler.start} of the mix.')
            self.dataloader_iterator = _AlreadyAdvanced(self.dataloader, done)
        super().run()


class _AlreadyAdvanced:
    """A loader's batches, after ``steps`` calls that do nothing, with which the parent skips ahead."""

    def __init__(self, dataloader: DataLoader, steps: int) -> None:
        self.steps, self.iterator = steps, iter(dataloader)

    def __next__(self) -> Any:
        if self.steps > 0:
            self.steps -= 1
            return None
        return next(self.iterator)
