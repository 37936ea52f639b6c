"""Batches of a mix; a worker that dies costs the record it held, not the run."""

import logging
import signal
import threading
from collections import Counter
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import DataLoader

from ..datasets.mix import WORKER_DIED, DrawSampler, RegionMix

#: Signals by which a process ends through a fault of its own.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL}
#: Signals that someone sends to a run as a whole.
_REQUESTS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
#: Deaths in a row after which the cause is not a record.
_MAX_DEATHS = 5


def watch_workers(dataloader: DataLoader) -> None:
    """Make a loader's workers write down what they read, and ignore Ctrl-C; before it is iterated."""
    if isinstance(dataloader.dataset, RegionMix):
        dataloader.dataset.watch(dataloader.num_workers)
    dataloader.worker_init_fn = partial(_start_worker, dataloader.worker_init_fn)


def _start_worker(inner: Any, worker_id: int) -> None:
    # A terminal sends Ctrl-C to workers too; the main process decides when to end.
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if inner is not None:
        inner(worker_id)


class PatientBatches:
    """An iterator over a loader that starts its workers again when one has died.

    A record that a worker held when it crashed is left out from then on: drawn again it is a broken
    record. A worker that was killed (no memory, for one) may have held its record by chance: that is left
    out the second time. After a signal to the whole run nothing is.

    Args:
        dataloader: Prepared by :func:`watch_workers`.
        iterator: One of its iterators that has not given a batch yet; None makes one.
        first_draw, draws_per_iter: Where the sampler is, and what a batch of all ranks takes.
        steps: Calls of ``next`` that give None first, with which MMEngine's loop skips ahead.

    Raises:
        RuntimeError: From ``next``: workers die whatever they read.
    """

    def __init__(
        self, dataloader: DataLoader, iterator: Any, first_draw: int, draws_per_iter: int, steps: int = 0
    ) -> None:
        self.dataloader, self.steps = dataloader, steps
        self.iterator = iter(dataloader) if iterator is None else iterator
        self.next_draw, self.draws_per_iter = first_draw, draws_per_iter
        self.deaths, self.suspects = 0, Counter[tuple[str, str]]()
        if threading.current_thread() is threading.main_thread():
            # torch would raise in the middle of whatever runs when a worker dies, an update for one.
            # Without its handler the death is noticed here, by the next call.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def __next__(self) -> Any:
        if self.steps > 0:
            self.steps -= 1
            return None
        while True:
            try:
                batch = next(self.iterator)
            except (RuntimeError, OSError, EOFError) as error:
                # A worker that dies after it has sent a batch takes the batch's memory with it: an OSError.
                self._go_on_after(error)
            else:
                self.next_draw += self.draws_per_iter
                self.deaths = 0
                return batch

    def _go_on_after(self, error: Exception) -> None:
        dataset, sampler = self.dataloader.dataset, self.dataloader.sampler
        # A connection may be lost long before the death can be seen, on a busy machine. Then nothing is
        # judged yet: the record is read again, and ends the next worker.
        dead, is_lost = self._dead_workers(), isinstance(error, (OSError, EOFError))
        if (
            not (dead or is_lost)
            or not isinstance(dataset, RegionMix)
            or not isinstance(sampler, DrawSampler)
        ):
            raise error
        self.deaths += 1
        if self.deaths > _MAX_DEATHS:
            raise RuntimeError(
                f'Workers of the data loader died {self.deaths} times in a row, whatever they read (exit '
                f'codes {sorted(dead.values())}; -9 is out of memory). Lower train_dataloader.num_workers.'
            ) from error
        for number, code in dead.items():
            self._judge(dataset, dataset.held_by(number), code)
        self.iterator = None  # ends the other workers before new ones start
        sampler.start = self.next_draw
        dataset.watch(self.dataloader.num_workers)
        self.iterator = iter(self.dataloader)

    def _dead_workers(self) -> dict[int, int]:
        """Exit codes by number; waits a moment, since an end may be felt before it can be seen."""
        workers = dict(enumerate(getattr(self.iterator, '_workers', [])))
        wait([worker.sentinel for worker in workers.values()], timeout=1)
        return {number: worker.exitcode or 0 for number, worker in workers.items() if not worker.is_alive()}

    def _judge(self, dataset: RegionMix, held: tuple[str, str] | None, code: int) -> None:
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
