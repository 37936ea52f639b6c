"""A run that is told to stop saves first."""

import signal
import threading
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine.ended import tell_launcher
from .trained_checkpoint_hook import TrainedCheckpointHook

#: EX_TEMPFAIL of sysexits.h: "try again later".
EXIT_CODE = 75


class StopSignalHook(Hook):
    """At the next update after a signal to any rank, all ranks save and end together.

    The exit code is 75, by which a scheduler can tell that the run should be started again with
    ``--resume``. Under ``tools/dist_train.sh`` each process ends with 0, or torchrun would start it again,
    and the script ends with 75. Before training begins, and at the second SIGINT, a signal does what it
    always did.

    A signal during a validation is obeyed at the first update after it.

    Args:
        signals: Names of the signals.
    """

    priority = 'LOWEST'  # after the checkpoint's own hook

    def __init__(self, signals: Sequence[str] = ('SIGTERM', 'SIGUSR1', 'SIGINT')) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self.received = 0
        self._previous: dict[signal.Signals, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Listen, from here on: before, there is nothing to save."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in self.signals}

    def _note(self, number: int, frame: Any) -> None:
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Stop if any rank has been told to."""
        if not runner.optim_wrapper.should_update() or self.is_last_train_iter(runner):
            return
        number = torch.tensor(self.received)
        all_reduce(number, 'max')
        if number > 0:
            self._stop(runner, signal.Signals(int(number)).name)

    def _stop(self, runner: Runner, name: str) -> None:
        for hook in runner.hooks:
            if isinstance(hook, TrainedCheckpointHook) and hook.last_iter != runner.iter + 1:
                hook.save_now(runner)
        runner.logger.warning(f'{name}: saved after iteration {runner.iter + 1}. Go on with --resume.')
        barrier()  # a launcher may end all ranks as soon as one has ended
        self._restore()
        runner.call_hook('after_run')
        raise SystemExit(0 if tell_launcher(name) else EXIT_CODE)

    def after_train(self, runner: Runner) -> None:
        """Listen no more."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
