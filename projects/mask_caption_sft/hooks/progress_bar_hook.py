"""A bar below the lines of a run, where a person looks at it."""

import sys
from contextlib import ExitStack
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class ProgressBarHook(Hook):
    """Shows how far training, validation and tests are; what is logged is printed above the bars.

    They are drawn on standard error; nothing is drawn where that is no terminal.
    """

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty() and is_main_process()
        self._open = ExitStack()
        self._bars: dict[str, tqdm] = {}

    def before_run(self, runner: Runner) -> None:
        """Let the lines of the log make room for the bars."""
        if self.is_shown:
            self._open.enter_context(logging_redirect_tqdm([runner.logger]))

    def after_run(self, runner: Runner) -> None:
        """Leave the terminal as it was."""
        for mode in list(self._bars):
            self._end(mode)
        self._open.close()

    def before_train(self, runner: Runner) -> None:
        """Start at the iteration where the run goes on."""
        self._start('train', runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """A step. The loss is in the lines above: to show it here, a GPU would be waited for each time."""
        self._step('train')

    def after_train(self, runner: Runner) -> None:
        """Leave the full bar."""
        self._end('train')

    def before_val_epoch(self, runner: Runner) -> None:
        """A bar of its own, which goes when the validation is over."""
        self._start('val', len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """A step."""
        self._step('val')

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Remove the bar."""
        self._end('val')

    def before_test_epoch(self, runner: Runner) -> None:
        """A bar of its own."""
        self._start('test', len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """A step."""
        self._step('test')

    def after_test_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Remove the bar."""
        self._end('test')

    def _start(self, mode: str, total: int, done: int = 0) -> None:
        if self.is_shown:
            stays = mode == 'train'
            self._bars[mode] = tqdm(total=total, initial=done, desc=mode, leave=stays, dynamic_ncols=True)

    def _step(self, mode: str) -> None:
        if mode in self._bars:
            self._bars[mode].update()

    def _end(self, mode: str) -> None:
        if mode in self._bars:
            self._bars.pop(mode).close()
