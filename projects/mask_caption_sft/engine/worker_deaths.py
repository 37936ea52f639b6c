"""Workers of a data loader that have died, and the records that they held."""

import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import DataLoader

from ..datasets.watched import WORKER_DIED, WatchedDatasets

#: What a loader raises when a worker has died. One that dies after it has sent a batch takes the batch's
#: memory with it: an OSError.
DEATH_ERRORS = (RuntimeError, OSError, EOFError)
#: Signals by which a process ends through a fault of its own.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
#: Signals that someone sends to a run as a whole.
_REQUESTS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
#: Deaths in a row after which the cause is not a record.
_MAX_DEATHS = 5


class WorkerDeaths:
    """Judges each death, so that the loader's reader can start the workers again.

    A record that a worker held when it crashed is left out from then on: drawn again it is a broken
    record. A worker that was killed (no memory, for one) may have held its record by chance: that is left
    out the second time. After a signal to the whole run nothing is.

    Args:
        dataloader: Not iterated yet. Its workers will write down what they read, and ignore Ctrl-C.
        setting: Its key in the config, for messages.
    """

    def __init__(self, dataloader: DataLoader, setting: str) -> None:
        self.dataloader, self.setting = dataloader, setting
        self.in_row, self.suspects = 0, Counter[tuple[str, str]]()
        if isinstance(dataloader.dataset, WatchedDatasets):
            dataloader.dataset.watch(dataloader.num_workers)
        dataloader.worker_init_fn = partial(_start_worker, dataloader.worker_init_fn)

    def iterate(self, dataloader: DataLoader | None = None) -> Iterator:
        """Start workers: of the loader, or of another one over the same datasets."""
        iterator = iter(self.dataloader if dataloader is None else dataloader)
        take_no_notice_of_children()
        return iterator

    def survive(self, error: Exception, iterator: Any) -> None:
        """Judge the deaths that an error comes from; afterwards new workers can be started.

        Args:
            error: One of ``DEATH_ERRORS``, from the iterator's ``next``.
            iterator: Its workers are looked at.

        Raises:
            RuntimeError: Workers die whatever they read.
            Exception: ``error`` itself, if no worker has died or what it held cannot be known.
        """
        # A connection may be lost long before the death can be seen, on a busy machine. Then nothing is
        # judged yet: the record is read again, and ends the next worker.
        dataset, dead = self.dataloader.dataset, _dead_workers(iterator)
        is_lost = self.dataloader.num_workers > 0 and isinstance(error, (OSError, EOFError))
        if not (dead or is_lost) or not isinstance(dataset, WatchedDatasets):
            raise error
        self.in_row += 1
        if self.in_row > _MAX_DEATHS:
            raise RuntimeError(
                f'Workers of the data loader died {self.in_row} times in a row, whatever they read (exit '
                f'codes {sorted(dead.values())}; -9 is out of memory). Lower {self.setting}.num_workers.'
            ) from error
        for number, code in dead.items():
            self._judge(dataset, dataset.held_by(number), code)
        dataset.watch(self.dataloader.num_workers)
        self.dataloader._iterator = None  # persistent workers: a loader would go on with the dead

    def _judge(self, dataset: WatchedDatasets, held: tuple[str, str] | None, code: int) -> None:
        name = signal.Signals(-code).name if code < 0 else f'exit code {code}'
        if held is None or -code in _REQUESTS:
            print_log(f'A worker died ({name}) and is started again.', 'current', logging.WARNING)
            return
        self.suspects[held] += 1
        sample_id = held[1]
        text = f'A worker died ({name}) while it read {held[0]} {sample_id}.'
        if -code in _FAULTS or self.suspects[held] > 1:
            dataset.quarantined[held] = f'{WORKER_DIED}: {name}'
            text += ' The record is left out from now on; tools/verify_datasets.py finds others of its kind.'
        print_log(text, 'current', logging.WARNING)


def take_no_notice_of_children() -> None:
    """Undo what a loader's first workers have set.

    torch would raise in the middle of whatever runs when a worker dies, an update for one. Without its
    handler the death is noticed by the loader's next batch.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _start_worker(inner: Any, worker_id: int) -> None:
    # A terminal sends Ctrl-C to workers too; the main process decides when to end.
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if inner is not None:
        inner(worker_id)


def _dead_workers(iterator: Any) -> dict[int, int]:
    """Exit codes by number; waits a moment, since an end may be felt before it can be seen."""
    workers = dict(enumerate(getattr(iterator, '_workers', [])))
    wait([worker.sentinel for worker in workers.values()], timeout=1)
    return {number: worker.exitcode or 0 for number, worker in workers.items() if not worker.is_alive()}
