"""A function that worker processes get once, not with every task."""

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

_function: Callable[[Any], Any] | None = None


def in_order(
    function: Callable[[Any], Any], tasks: Iterable[Any], num_workers: int, ahead: int | None = None
) -> Iterator[Any]:
    """Results of worker processes, in the order of the tasks.

    Only so many tasks are begun before the first result that has not been taken: if whoever takes them is
    slow, the workers wait, and results do not pile up in memory. If no more are taken, the tasks that have
    begun are ended and the others left out. (No signal ends a worker, as one of ``multiprocessing.Pool``:
    where a training's handler is inherited it would be waited for without end.)

    Args:
        function: A module-level function, a partial of one, or an object that can be called.
        tasks: Its arguments, small and picklable.
        num_workers: Number of worker processes.
        ahead: Most results that are held; by default four per worker.

    Raises:
        RuntimeError: A worker was killed.
    """
    most = 4 * num_workers if ahead is None else ahead
    waiting: deque[Future] = deque()
    pool = concurrent.futures.ProcessPoolExecutor(num_workers, initializer=_set_task, initargs=(function,))
    try:
        for task in tasks:
            if len(waiting) >= most:
                yield waiting.popleft().result()
            waiting.append(pool.submit(_call_task, task))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            'A worker process was killed, most likely because memory ran out. Use fewer workers.'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _set_task(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function


def _call_task(task: Any) -> Any:
    assert _function is not None
    return _function(task)
