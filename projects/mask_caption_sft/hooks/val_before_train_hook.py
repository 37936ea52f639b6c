"""Validates once before the first update."""

from mmengine.hooks import Hook
from mmengine.runner import Runner


class ValBeforeTrainHook(Hook):
    """Runs the validation loop before training, so that a run shows where it started.

    A resumed run has its first validation already and skips it.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Validate at iteration 0."""
        if runner.iter == 0 and runner.val_loop is not None:
            runner.val_loop.run()
