"""Datasets that write down what is being read, so that a record that ends its reader can be left out."""

import torch
from torch.utils.data import Dataset, get_worker_info

from ..structures import BrokenRecord, RegionSample
from .base import RegionDataset

#: Begins the reason of a record that ended the process that read it.
WORKER_DIED = 'WorkerDied'


class WatchedDatasets(Dataset):
    """Datasets by name, read through :meth:`read`.

    Args:
        datasets: By name.

    Attributes:
        quarantined: Records that are not to be read, by dataset and name, with the reason.
    """

    def __init__(self, datasets: dict[str, RegionDataset]) -> None:
        self.datasets = datasets
        self.quarantined: dict[tuple[str, str], str] = {}
        self._held: torch.Tensor | None = None

    def read(self, name: str, index: int) -> RegionSample | BrokenRecord:
        """A record of a dataset; one in quarantine is broken, and is not looked at."""
        dataset = self.datasets[name]
        if self.quarantined:
            sample_id = dataset.get_data_info(index)['sample_id']
            if (name, sample_id) in self.quarantined:
                return BrokenRecord(name, sample_id, self.quarantined[name, sample_id])
        self._note(list(self.datasets).index(name), index)
        sample = dataset[index]
        self._note(-1, -1)
        return sample

    def watch(self, num_workers: int) -> None:
        """Make memory in which each worker writes down what it reads; for :meth:`held_by`."""
        self._held = torch.full((num_workers, 2), -1, dtype=torch.long).share_memory_()

    def held_by(self, worker: int) -> tuple[str, str] | None:
        """Dataset and name of the record that a worker was reading when it last wrote it down."""
        which, index = (-1, -1) if self._held is None else self._held[worker].tolist()
        if which < 0:
            return None
        name = list(self.datasets)[which]
        return name, self.datasets[name].get_data_info(index)['sample_id']

    def _note(self, which: int, index: int) -> None:
        worker = get_worker_info()
        if worker is not None and self._held is not None and worker.id < len(self._held):
            self._held[worker.id, 0], self._held[worker.id, 1] = which, index
