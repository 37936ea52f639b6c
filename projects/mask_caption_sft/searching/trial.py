"""One trial: a training run in a process of its own, watched from outside, ended if it is poor."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from optuna import Trial, TrialPruned

from ..reporting.run_log import logged_as, read_run

#: Seconds between two looks at a run's validations, and that a run has to end after it was told to.
LOOK_EVERY, PATIENCE = 1.0, 600.0


class TrialFailedError(RuntimeError):
    """A run ended with an error, or without a score."""


def run_trial(trial: Trial, command: Sequence[str], work_dir: Path, metric: str) -> float:
    """Train, report each validation to the study, and return the score of the last one.

    Validations before the first update are not reported: they are the same in every trial.

    Args:
        trial: Of the study.
        command: Starts the run; its output goes to ``output.txt`` in the work dir.
        work_dir: Of the run.
        metric: What is searched for, by its own name.

    Raises:
        TrialPruned: The score was below the median of the other trials; the run was told to stop.
        TrialFailedError: See there.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', '1')}
    with (work_dir / 'output.txt').open('a') as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            reported: dict[int, float] = {}
            while (status := process.poll()) is None:
                _report(trial, work_dir, metric, reported)
                if trial.should_prune():
                    raise TrialPruned(f'below the median at iteration {max(reported)}')
                time.sleep(LOOK_EVERY)
        finally:
            _end(process)
    _report(trial, work_dir, metric, reported)
    if status != 0:
        raise TrialFailedError(f'{work_dir} ended with status {status}, see output.txt there.')
    if not reported:
        raise TrialFailedError(f'{work_dir} has no validation with {metric}. Lower train_cfg.val_interval.')
    return reported[max(reported)]


def _report(trial: Trial, work_dir: Path, metric: str, reported: dict[int, float]) -> None:
    for step, value in scores(work_dir, metric).items():
        if step not in reported:
            trial.report(value, step)
            reported[step] = value


def scores(work_dir: Path, metric: str) -> dict[int, float]:
    """The metric in each validation after the start, by iteration; empty before the first."""
    try:
        log = read_run(work_dir)
    except (FileNotFoundError, ValueError):  # not yet there, or its last line is being written
        return {}
    found = {step: row.get(logged_as(metric, row)) for step, row in log.val.items() if step > 0}
    return {step: value for step, value in sorted(found.items()) if value is not None}


def _end(process: subprocess.Popen) -> None:
    """Tell a run to stop; it saves first. One that does not is killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
