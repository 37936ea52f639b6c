"""Keeps ranks together that predict unequal numbers of batches with a sharded model."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..ops.unwrapped import unwrapped


class EqualPassesHook(Hook):
    """Where a sharded model has predicted, a rank that is done takes part until all are.

    That is after a training iteration, in which samples may have been drawn, and after the last batch
    of a validation or test; ranks may have unequal numbers of them. It is before hooks and metrics in
    which ranks wait for each other. Nothing to do for a model that is not sharded.
    """

    priority = 55  # after NORMAL, which draws samples, and before the others

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Some ranks may have had no sample to draw."""
        self._finish(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """A rank without a batch is done before it begins."""
        self._finish_after(runner, runner.val_loop, -1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Done after the last batch."""
        self._finish_after(runner, runner.val_loop, batch_idx)

    def before_test_epoch(self, runner: Runner) -> None:
        """As in validation."""
        self._finish_after(runner, runner.test_loop, -1)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """As in validation."""
        self._finish_after(runner, runner.test_loop, batch_idx)

    def _finish_after(self, runner: Runner, loop: Any, batch_idx: int) -> None:
        if batch_idx + 1 == len(loop.dataloader):
            self._finish(runner)

    @staticmethod
    def _finish(runner: Runner) -> None:
        model = unwrapped(runner.model)
        passes = getattr(model, 'equal_passes', None)
        if passes is not None:
            passes.finish()
