"""Batches of a loader; a worker that dies costs the record it held, not the run."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from ..datasets.mix import DrawSampler
from .worker_deaths import DEATH_ERRORS, WorkerDeaths, take_no_notice_of_children


class PatientBatches:
    """An iterator over the draws of training that starts its workers again when one has died.

    Args:
        deaths: Of the loader, see :class:`WorkerDeaths`.
        iterator: One of the loader's iterators that has not given a batch yet; None makes one.
        first_draw, draws_per_iter: Where the sampler is, and what a batch of all ranks takes.
        steps: Calls of ``next`` that give None first, with which MMEngine's loop skips ahead.

    Raises:
        RuntimeError: From ``next``: workers die whatever they read.
    """

    def __init__(
        self, deaths: WorkerDeaths, iterator: Any, first_draw: int, draws_per_iter: int, steps: int = 0
    ) -> None:
        self.deaths, self.steps = deaths, steps
        self.iterator = deaths.iterate() if iterator is None else iterator
        self.next_draw, self.draws_per_iter = first_draw, draws_per_iter
        take_no_notice_of_children()  # the iterator may have been made elsewhere

    def __next__(self) -> Any:
        if self.steps > 0:
            self.steps -= 1
            return None
        while True:
            try:
                batch = next(self.iterator)
            except DEATH_ERRORS as error:
                self._go_on_after(error)
            else:
                self.next_draw += self.draws_per_iter
                self.deaths.in_row = 0
                return batch

    def _go_on_after(self, error: Exception) -> None:
        sampler = self.deaths.dataloader.sampler
        if not isinstance(sampler, DrawSampler):
            raise error
        self.deaths.survive(error, self.iterator)
        self.iterator = None  # ends the other workers before new ones start
        sampler.start = self.next_draw
        self.iterator = self.deaths.iterate()


class PatientLoader:
    """A loader of validation or test that starts its workers again when one has died, with the next batch.

    Everything else is the loader's.

    Args:
        dataloader: Not iterated yet; its sampler gives the same order when it is asked again.
        setting: Its key in the config, for messages.

    Raises:
        RuntimeError: While it is iterated: workers die whatever they read.
    """

    def __init__(self, dataloader: DataLoader, setting: str) -> None:
        self.dataloader, self.deaths = dataloader, WorkerDeaths(dataloader, setting)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataloader, name)

    def __len__(self) -> int:
        return len(self.dataloader)

    def __iter__(self) -> Iterator[Any]:
        iterator, done = self.deaths.iterate(), 0
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except DEATH_ERRORS as error:
                batches = self.dataloader.batch_sampler
                if batches is None:  # a loader of single records: it has no batch to go on with
                    raise
                self.deaths.survive(error, iterator)
                del iterator  # ends the other workers before new ones start
                iterator = self.deaths.iterate(_over(self.dataloader, [*islice(batches, done, None)]))
            else:
                done += 1
                self.deaths.in_row = 0
                yield batch


def _over(loader: DataLoader, batches: list[list[int]]) -> DataLoader:
    """The same loader over some of its batches."""
    return DataLoader(
        loader.dataset, batch_sampler=batches, num_workers=loader.num_workers, collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory, timeout=loader.timeout, worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context, prefetch_factor=loader.prefetch_factor,
    )  # fmt: skip
