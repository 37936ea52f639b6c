"""When each objective teaches."""

from collections.abc import Collection, Mapping

from mmengine.logging import MessageHub


class Periods:
    """Shares of a run in which objectives teach.

    Args:
        periods: By the name of an objective, from and until which share of the run's iterations.
        names: Of all objectives.

    Raises:
        ValueError: A period is none, or there is no such objective.
    """

    def __init__(self, periods: Mapping[str, tuple[float, float]], names: Collection[str]) -> None:
        for name, period in periods.items():
            if name not in names:
                raise ValueError(
                    f'periods names {name!r}, which is no objective. There are {", ".join(names)}.'
                )
            if len(period) != 2 or not 0 <= period[0] < period[1] <= 1:
                raise ValueError(
                    f'periods.{name}={period!r} is no part of a run. Give two shares of it, as (0.5, 1.0).'
                )
        self.periods = {name: (begin, end) for name, (begin, end) in periods.items()}

    def is_now(self, name: str) -> bool:
        """Whether an objective teaches in the present iteration; outside a run all do."""
        begin, end = self.periods.get(name, (0.0, 1.0))
        info = MessageHub.get_current_instance().runtime_info
        if 'max_iters' not in info:
            return True
        # Resumed on another number of processes, the same draws are another number of iterations.
        offset = info.get('schedule_offset', 0)
        length, position = info['max_iters'] + offset, info['iter'] + offset
        return begin * length <= position < end * length
