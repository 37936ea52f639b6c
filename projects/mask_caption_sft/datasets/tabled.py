"""Datasets whose records come from a mask table."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from .base import RegionDataset
from .index.build import build_parts, missing_parts, part_tasks
from .index.held_out import held_out
from .index.mask_filter import MaskFilter
from .index.place import candidates, writable
from .index.selection import Selection
from .index.source import TableSource
from .index.table import MaskTable, open_table
from .raw_sample import RawSample
from .shards import Shard

_NUM_NAMED_FAULTS = 5
PARTS = ('all', 'train', 'val')


class TabledDataset(RegionDataset):
    """Lists its masks in a table, once, and then draws from the table's columns.

    The first process that needs the table makes it, while others wait; so does ``tools/build_index.py``,
    before a run. What has changed since is read again. Records that could not be read are the last ones of
    the dataset, and broken.

    Args:
        index_dir: Folder of the table, below ``data_root`` or absolute. By default ``.mask_index`` below
            ``data_root``, or the user's cache folder if that cannot be written to.
        index_timeout: Seconds to wait for another process that makes the table.
        part: ``'all'`` records, or only those of ``'train'`` or ``'val'``: ``val_share`` of the images (of
            the videos) are held out, chosen by their names alone. Records that could not be read are in
            ``'train'``.
        val_share: See ``part``.
    """

    #: Columns of the table that records need.
    DRAWN_COLUMNS: tuple[str, ...] = ()
    mask_filter: MaskFilter | None = None

    def __init__(
        self,
        data_root: str,
        index_dir: str | None = None,
        index_timeout: float = 7200.0,
        part: str = 'all',
        val_share: float = 0.05,
        **kwargs: Any,
    ) -> None:
        if part not in PARTS or not 0 < val_share < 1:
            raise ValueError(
                f'part={part!r}, val_share={val_share}: needed are one of {", ".join(map(repr, PARTS))}, and '
                'a share between 0 and 1.'
            )
        self.index_dir, self.index_timeout = index_dir, index_timeout
        self.part, self.val_share = part, val_share
        super().__init__(data_root=data_root, **kwargs)

    def table_source(self) -> TableSource:
        """What the table is made from; raises if a file that has to be there is missing."""
        raise TypeError(f'{type(self).__name__} must define table_source().')

    def make_record(self, row: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`read_record` needs, from the columns of a record; ``sample_id`` is added."""
        return row

    def read_record(self, record: dict) -> RawSample:
        if 'fault' in record:
            raise ValueError(record['fault'])
        return self.read_masks(record)

    def read_masks(self, record: dict) -> RawSample:
        """Image, masks and texts of a record that was listed without a fault."""
        raise TypeError(f'{type(self).__name__} must define read_masks().')

    def open_table(self, num_workers: int | None = None, look_at_all: bool = False) -> MaskTable:
        """The table, made if it is missing or stale; see :func:`index.table.open_table`."""
        source = self.table_source()
        mend = (
            'Make it before the run with tools/build_index.py, or raise index_timeout of dataset '
            f'{self.name!r}.'
        )
        return open_table(source, self._folders(source), self.index_timeout, mend, num_workers, look_at_all)

    def build_shard(self, shard: Shard, num_workers: int | None = None) -> tuple[int, int]:
        """Write this shard's parts of the table, for a later :meth:`open_table`.

        Returns their number, and that of all. Nothing is locked: other shards may write at the same time.
        """
        source = self.table_source()
        folder, tasks = writable(self._folders(source)), part_tasks(source)
        own = tasks[shard.number - 1 :: shard.count]
        build_parts(source, folder, own, num_workers)
        return len(own), len(tasks)

    def missing_parts(self) -> list[tuple[str, list[str]]]:
        """Parts of the table that no shard has written: name, and the files that it is read from."""
        source = self.table_source()
        return missing_parts(writable(self._folders(source)), part_tasks(source))

    def _folders(self, source: TableSource):
        return candidates(self.data_root, self.index_dir, source.table_name())

    def lazy_records(self) -> Sequence[dict]:
        table = self.open_table()
        if not table.info['records'] and not table.faults:
            raise ValueError(
                f'{self.data_root} holds no record for dataset {self.name!r}. {self._expectation()}'
            )
        self._name_faults(table)
        skipped = self.skipped_ids()
        faults = [fault for fault in table.faults if fault[0] not in skipped and self.part != 'val']
        selection = self._select(table, skipped)
        if not len(selection) and not faults:
            if skipped and len(self._select(table, set())):
                raise ValueError(f'every record of dataset {self.name!r} is in {self.skip_list}.')
            raise ValueError(f'no mask of dataset {self.name!r} passes {self.mask_filter}. Widen it.')
        return TabledRecords(self, selection, self._positions(table, selection), faults)

    def _positions(self, table: MaskTable, selection: Selection) -> np.ndarray | None:
        """Positions of the records of this part; None takes all, in order."""
        order = self._order(table, selection)
        if self.part == 'all' or not len(selection):
            return order
        groups = [self.group_of(name) for name in selection.column('record').to_pylist()]
        in_part = held_out(groups, self.val_share) == (self.part == 'val')
        if not in_part.any():
            raise ValueError(
                f'dataset {self.name!r} has a single {"image" if len(groups) == 1 else "group of images"}, '
                f"{groups[0]!r}; a part of it cannot be held out. Set part='all'."
            )
        positions = np.arange(len(selection)) if order is None else order
        return positions[in_part[positions]]

    def group_of(self, name: str) -> str:
        """What a record is held out with, from its name below the root; by default it is alone."""
        return name

    def _select(self, table: MaskTable, skipped: set[str]) -> Selection:
        return table.select(
            self.DRAWN_COLUMNS, self.mask_filter, skipped, self._limit() if self.part == 'all' else None,
            self._folders(self.table_source())[1:], self.index_timeout,
        )  # fmt: skip

    def _limit(self) -> int | None:
        """How many records of the selection can be needed."""
        return self.max_samples

    def _order(self, table: MaskTable, selection: Selection) -> np.ndarray | None:
        """Positions of the records in the selection; None takes them as they are."""
        return None

    def _name_faults(self, table: MaskTable) -> None:
        for name, reason in table.faults[:_NUM_NAMED_FAULTS]:
            print_log(f'{self.name}: {name} cannot be read: {reason}', 'current', logging.WARNING)
        if len(table.faults) > _NUM_NAMED_FAULTS:
            print_log(
                f'{self.name}: {len(table.faults)} cannot be read in all, see {table.folder}/table.json.',
                'current',
                logging.WARNING,
            )


class TabledRecords(Sequence):
    """Records of a dataset, made as they are drawn: those of the selection, then the broken ones."""

    def __init__(
        self,
        dataset: TabledDataset,
        selection: Selection,
        order: np.ndarray | None,
        faults: list[tuple[str, str]],
    ) -> None:
        self.root, self.make_record = dataset.data_root, dataset.make_record
        self.selection, self.order, self.faults = selection, order, faults
        self.num_good = len(selection) if order is None else len(order)
        self.length = self.num_good + len(faults)
        if dataset.max_samples is not None:
            self.length = min(self.length, dataset.max_samples)

    make_record: Callable[[dict[str, Any]], dict[str, Any]]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number):
        number = range(self.length)[number]
        if number >= self.num_good:
            name, reason = self.faults[number - self.num_good]
            return {'sample_id': os.path.join(self.root, name), 'fault': reason}
        position = number if self.order is None else int(self.order[number])
        row = self.selection[position]
        record = self.make_record(row)
        return record | {'sample_id': os.path.join(self.root, row['record']), 'position': position}
