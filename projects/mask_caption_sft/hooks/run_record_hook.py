"""Saves where and how a run is made, and says at its end what it has achieved."""

import time
from dataclasses import asdict
from pathlib import Path

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..loop.cheat_signs import CheatLimits
from ..reporting.run_log import read_run
from ..reporting.run_record import RunRecord, record_of_this_process
from ..reporting.verdict import verdict
from .cheat_watch_hook import CheatWatchHook


class RunRecordHook(Hook):
    """Writes :class:`RunRecord` beside the log, and logs the :class:`Verdict` of a run that comes to its end.

    Nothing is written while training; a run that is killed keeps the record of its start.
    """

    priority = 'LOWEST'  # after the last validation is in the file

    def __init__(self) -> None:
        self.record: RunRecord | None = None
        self._has_warned = False

    def before_train(self, runner: Runner) -> None:
        """Record the start."""
        if is_main_process():
            self.record = record_of_this_process(asdict(_limits(runner)))
            self._save(runner)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Say what the run has achieved."""
        try:
            log = read_run(runner.work_dir)
        except FileNotFoundError:  # no visualizer that writes
            return
        runner.logger.info('\n'.join(verdict(log, _limits(runner), _named(runner)).lines()))

    @master_only
    def after_run(self, runner: Runner) -> None:
        """Record the end; also of a run that was told to stop."""
        if self.record is not None and Path(runner.log_dir).is_dir():
            self.record.ended, self.record.named = time.time(), _named(runner)
            self._save(runner)

    def _save(self, runner: Runner) -> None:
        """A full disk costs the record, not the run."""
        assert self.record is not None
        try:
            self.record.save(runner.log_dir)
        except OSError as error:
            if not self._has_warned:
                runner.logger.warning(f'The record of this run cannot be written ({error}). Free some space.')
            self._has_warned = True


def _limits(runner: Runner) -> CheatLimits:
    found = [hook.limits for hook in runner.hooks if isinstance(hook, CheatWatchHook)]
    return found[0] if found else CheatLimits()


def _named(runner: Runner) -> list[str]:
    return list(runner.message_hub.runtime_info.get(CheatWatchHook.NAMED, []))
