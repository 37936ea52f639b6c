"""Schedules in shares of a run, so that they follow its length."""

import itertools
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import Runner

_SHARES = ('begin_ratio', 'end_ratio')
_ITERATIONS = ('begin', 'end', 'T_max')


def in_iterations(schedules: Any, max_iters: int) -> Any:
    """A ``param_scheduler`` setting with its shares of the run turned into iterations.

    In a run of 1000 iterations ``dict(type=LinearLR, by_epoch=False, begin_ratio=0, end_ratio=0.03)``
    becomes ``dict(type=LinearLR, by_epoch=False, begin=0, end=30)``. A scheduler that states
    iterations, or is built already, stays as it is.

    A share of fewer than two iterations is left out: a ramp of one would start at its low end and
    never reach the other.

    Args:
        schedules: One scheduler, a list of them, or a dict of either by optimizer; None for none.
        max_iters: Length of the run.

    Raises:
        ValueError: See :func:`check_schedules`.
    """
    if isinstance(schedules, dict) and 'type' in schedules:
        schedules = [schedules]
    if isinstance(schedules, dict):
        return {name: in_iterations(each, max_iters) for name, each in schedules.items()}
    if not isinstance(schedules, list | tuple):
        return schedules
    check_schedules(schedules)
    converted = [_in_iterations(schedule, max_iters) for schedule in schedules]
    return [schedule for schedule in converted if schedule is not None]


def check_schedules(schedules: Any) -> None:
    """Raise ``ValueError`` for a scheduler whose shares of the run are not clear.

    Args:
        schedules: See :func:`in_iterations`.
    """
    if isinstance(schedules, dict):
        schedules = [schedules] if 'type' in schedules else schedules.values()
    for position, schedule in enumerate(schedules or ()):
        if isinstance(schedule, list | tuple):
            check_schedules(schedule)
        elif _states_shares(schedule):
            _check_shares(schedule, f'param_scheduler.{position}')


def _states_shares(schedule: Any) -> bool:
    return isinstance(schedule, dict) and any(key in schedule for key in _SHARES)


def _check_shares(schedule: dict[str, Any], key: str) -> None:
    stated = ', '.join(f'{name}={schedule[name]}' for name in _SHARES if name in schedule)
    iterations = [name for name in _ITERATIONS if name in schedule]
    if iterations:
        also = ', '.join(f'{name}={schedule[name]}' for name in iterations)
        raise ValueError(
            f'{key} states shares of the run ({stated}) and iterations ({also}). Leave the iterations out: '
            'the shares follow train_cfg.max_iters and train_cfg.max_epochs by themselves.'
        )
    if schedule.get('by_epoch', True) or schedule.get('convert_to_iter_based'):
        raise ValueError(
            f'{key} states shares of the run ({stated}), which are counted in iterations. Set by_epoch=False '
            'and leave convert_to_iter_based out.'
        )
    begin, end = _shares(schedule)
    if not 0 <= begin < end <= 1:
        raise ValueError(
            f'{key}: {stated}. Shares of the run must satisfy 0 <= begin_ratio < end_ratio <= 1.'
        )


def _shares(schedule: dict[str, Any]) -> tuple[float, float]:
    return schedule.get('begin_ratio', 0.0), schedule.get('end_ratio', 1.0)


def _in_iterations(schedule: Any, max_iters: int) -> Any:
    if not _states_shares(schedule):
        return schedule
    begin, end = (round(share * max_iters) for share in _shares(schedule))
    if end - begin < 2:
        name = getattr(schedule['type'], '__name__', schedule['type'])
        print_log(f'{name} is left out: its share of {max_iters} iterations is {end - begin}.', 'current')
        return None
    settings = {name: value for name, value in schedule.items() if name not in _SHARES}
    return settings | {'begin': begin, 'end': end}


def built_schedulers(runner: Runner) -> list[Any]:
    """All schedulers of a run, of whichever optimizer."""
    schedulers = runner.param_schedulers or []
    return list(itertools.chain(*schedulers.values()) if isinstance(schedulers, dict) else schedulers)


def snapshot(runner: Runner) -> tuple[list[dict], list[dict]]:
    """Where the schedules are: their own states, and what they have set in the optimizer's groups."""
    states = [dict(scheduler.state_dict()) for scheduler in built_schedulers(runner)]
    return states, [_settings(group) for group in runner.optim_wrapper.param_groups]


def rewind(runner: Runner, before: tuple[list[dict], list[dict]]) -> None:
    """Put the schedules back to where they were at a :func:`snapshot`."""
    states, groups = before
    for scheduler, state in zip(built_schedulers(runner), states):
        scheduler.load_state_dict(state)
    for group, settings in zip(runner.optim_wrapper.param_groups, groups):
        group.update(settings)


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != 'params'}
