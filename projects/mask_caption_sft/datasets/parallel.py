"""A function that worker processes get once, not with every task."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_function: Callable[[Any], Any] | None = None


def set_task(function: Callable[[Any], Any]) -> None:
    """Initializer of a ``multiprocessing.Pool``: sets what :func:`call_task` calls.

    A pool ends its workers by SIGTERM, and waits for them. One that inherits a training's handler would
    only take note of it.
    """
    global _function
    _function = function
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def call_task(task: Any) -> Any:
    """Run one task in a worker that was initialized by :func:`set_task`."""
    if _function is None:
        raise RuntimeError('the pool was not initialized by set_task')
    return _function(task)


def in_order(
    function: Callable[[Any], Any], tasks: Iterable[Any], num_workers: int, ahead: int | None = None
) -> Iterator[Any]:
    """Results of worker processes, in the order of the tasks.

    Only so many tasks are begun before the first result that has not been taken: if whoever takes them is
    slow, the workers wait, and results do not pile up in memory.

    Args:
        function: A module-level function, a partial of one, or an object that can be called.
        tasks: Its arguments, small and picklable.
        num_workers: Number of worker processes.
        ahead: Most results that are held; by default four per worker.
    """
    most = 4 * num_workers if ahead is None else ahead
    waiting: deque[Any] = deque()
    with multiprocessing.Pool(num_workers, set_task, (function,)) as pool:
        for task in tasks:
            if len(waiting) >= most:
                yield waiting.popleft().get()
            waiting.append(pool.apply_async(call_task, (task,)))
        while waiting:
            yield waiting.popleft().get()
