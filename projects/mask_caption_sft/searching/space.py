"""The space that a config declares, and a point of it as settings of a run."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config
from optuna import Trial

from ..engine.cfg_options import apply_cfg_options

#: Name in a config: ``search_space = {'optim_wrapper.optimizer.lr': dict(low=1e-5, high=1e-3, log=True)}``.
NAME = 'search_space'
_RANGE = {'low', 'high', 'log', 'step'}


def read_space(config: Config) -> dict[str, Any]:
    """The declared space: by dotted key a list of choices, or ``dict(low=, high=)`` with ``log`` or ``step``.

    Raises:
        ValueError: There is none, a range is not one, or a key names nothing in the config.
    """
    space = dict(config.get(NAME) or {})
    if not space:
        raise ValueError(
            f"The config declares no {NAME}. Add {NAME} = {{'optim_wrapper.optimizer.lr': dict(low=1e-5, "
            'high=1e-3, log=True)}, as configs/mask_caption_sft_tiny_search.py does.'
        )
    for key, values in space.items():
        _check(key, values)
    without = Config({k: v for k, v in deepcopy(config._cfg_dict).items() if k != NAME})
    first = {key: _first(values) for key, values in space.items()}
    try:
        apply_cfg_options(without, first)
    except ValueError as error:
        raise ValueError(f'{NAME}: {error}') from error
    return space


def suggest(trial: Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """A point of the space, by dotted key: whole numbers where both ends are whole, otherwise floats."""
    chosen = {}
    for key, values in space.items():
        if isinstance(values, list | tuple):
            chosen[key] = trial.suggest_categorical(key, list(values))
        elif isinstance(values['low'], int) and isinstance(values['high'], int):
            step = int(values.get('step', 1))
            chosen[key] = trial.suggest_int(key, values['low'], values['high'], step=step)
        else:
            step, log = values.get('step'), bool(values.get('log', False))
            chosen[key] = trial.suggest_float(key, values['low'], values['high'], step=step, log=log)
    return chosen


def _check(key: str, values: Any) -> None:
    if isinstance(values, list | tuple) and values:
        return
    is_range = isinstance(values, Mapping) and {'low', 'high'} <= values.keys() <= _RANGE
    if not is_range or not values['low'] < values['high']:
        raise ValueError(
            f'{NAME}: {key} is {values!r}. Give a list of choices, or dict(low=, high=) with low < high and, '
            'if wanted, log=True or step=.'
        )


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list | tuple) else values['low']
