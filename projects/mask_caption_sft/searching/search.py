"""A study: trials one after another or at once, until there are enough."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.study import MaxTrialsCallback, Study
from optuna.trial import TrialState

from .space import suggest
from .trial import TrialFailedError, run_trial

#: A trial that has come to its end, one way or another.
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def search(
    space: dict[str, Any],
    train: Sequence[str],
    options: Sequence[str],
    out: Path,
    storage: str,
    metric: str | None,
    num_trials: int,
    jobs: int = 1,
    num_startup: int = 4,
    minimize: bool = False,
) -> Study:
    """Run trials until the study has ``num_trials``; goes on with a study that is there.

    A process that is killed leaves its trials as running; they are not repeated, and do not count.

    Args:
        space: From :func:`read_space`.
        train: Command to which ``--work-dir`` and ``--cfg-options`` are added.
        options: ``KEY=VALUE`` for every trial.
        out: Folder of the trials' work dirs.
        storage: Optuna's address of the study.
        metric: What is searched for.
        num_trials: How many there are at the end.
        jobs: At once in this process.
        num_startup: Complete trials before any is ended early.
        minimize: Whether less is better.

    Raises:
        ValueError: There is no metric, or every trial has failed.
    """
    if not metric:
        raise ValueError(
            'There is no metric to search for. Set default_hooks.checkpoint.save_best, or --metric.'
        )
    study = optuna.create_study(
        study_name='search', storage=storage, load_if_exists=True,
        direction='minimize' if minimize else 'maximize',
        sampler=optuna.samplers.TPESampler(), pruner=MedianPruner(n_startup_trials=num_startup),
    )  # fmt: skip

    def objective(trial: optuna.Trial) -> float:
        try:
            point = suggest(trial, space)
        except ValueError as error:
            raise ValueError(
                f'{storage} holds trials of another space ({error}). Give another --out, or the old space.'
            ) from error
        work_dir = out / f'trial_{trial.number:04}'
        chosen = [*options, *(f'{key}={value}' for key, value in point.items())]
        command = [*train, '--work-dir', str(work_dir), '--cfg-options', *chosen]
        return run_trial(trial, command, work_dir, metric)

    left = num_trials - len(study.get_trials(states=ENDED))
    if left > 0:
        study.optimize(
            objective, n_trials=left, n_jobs=jobs, catch=(TrialFailedError,),
            callbacks=[MaxTrialsCallback(num_trials, states=ENDED), _say],
        )  # fmt: skip
    if not study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)):
        raise ValueError(
            f'Every trial has failed. See {out}/trial_*/output.txt; try tools/train.py --dry-run.'
        )
    return study


def _say(study: Study, trial: optuna.trial.FrozenTrial) -> None:
    score = '-' if trial.value is None else f'{trial.value:.4f}'
    chosen = ', '.join(f'{key}={value}' for key, value in trial.params.items())
    print(
        f'trial {trial.number}: {trial.state.name.lower()} {score}  ({chosen})', file=sys.stderr, flush=True
    )
