"""What a search has found: a table of its trials, and which settings matter."""

import math
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from ..ops.markdown import markdown_table

#: With fewer complete trials nothing can be said about importance.
FEWEST = 4


def trials_table(study: Study) -> str:
    """All trials as Markdown, the best first; those without a score last."""
    keys = sorted({key for trial in study.trials for key in trial.params})
    sign = -1 if study.direction.name == 'MAXIMIZE' else 1

    def rank(trial: FrozenTrial) -> tuple[bool, float]:
        is_whole = trial.state == TrialState.COMPLETE
        return (not is_whole, math.inf if trial.value is None else sign * trial.value)

    rows = []
    for trial in sorted(study.trials, key=rank):
        values = [trial.value, *(trial.params.get(key) for key in keys)]
        rows.append([str(trial.number), trial.state.name.lower(), *map(_cell, values)])
    return markdown_table(['trial', 'state', 'score', *keys], rows)


def importances(study: Study) -> dict[str, float]:
    """The share of each setting in how scores differ, largest first; empty where too little is known."""
    whole = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if len(whole) < FEWEST or len({trial.value for trial in whole}) < 2:
        return {}
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def plot_importances(found: dict[str, float], path: str | Path) -> None:
    """A bar per setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.4 * len(found)), layout='constrained')
    axes = figure.subplots()
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names])
    axes.set_xlabel('importance (PED-ANOVA)')
    figure.savefig(path, dpi=90)


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    return f'{value:.4g}' if isinstance(value, float) else str(value)
