"""A function that worker processes get once, not with every task."""

from collections.abc import Callable
from typing import Any

_function: Callable[[Any], Any] | None = None


def set_task(function: Callable[[Any], Any]) -> None:
    """Initializer of a ``multiprocessing.Pool``: sets what :func:`call_task` calls."""
    global _function
    _function = function


def call_task(task: Any) -> Any:
    """Run one task in a worker that was initialized by :func:`set_task`."""
    if _function is None:
        raise RuntimeError('the pool was not initialized by set_task')
    return _function(task)
