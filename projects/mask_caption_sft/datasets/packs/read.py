"""Reads a dataset packed into LMDB."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from ...ops.mask import to_rle
from ...ops.prompts import check_expression
from ..base import RegionDataset, rgb_pixels
from ..lazy_masks import LazyMasks
from ..raw_sample import RawSample, RawView
from ..remote.copies import copied_folder
from ..remote.path import RemotePath
from .format import PACK_FILES, PackedRecord, PackedView, decode_record, read_manifest
from .name_column import NameColumn
from .write import record_key

#: Open databases by path: LMDB refuses to open a database twice in one process.
_environments: dict[str, tuple[int, lmdb.Environment]] = {}


def open_environment(folder: str) -> lmdb.Environment:
    """The database of a pack in this process; one inherited through a fork is opened anew."""
    path = os.path.realpath(folder)
    pid, env = _environments.get(path, (0, None))
    if env is None or pid != os.getpid():
        if env is not None:
            env.close()
        env = lmdb.open(path, readonly=True, lock=False, readahead=False)
        _environments[path] = (os.getpid(), env)
    return env


class PackedRegions(RegionDataset):
    """Any of the datasets, written by ``tools/pack_dataset.py`` or ``tools/prepare_sav.py``.

    On disk::

        data.mdb             LMDB: number -> header and image bytes (``datasets.packs.format``)
        manifest.json        counts, source, options, format version, checksum
        names.bin, names_ends.npy, area_ratio.npy, frame_distance.npy   one entry per record, mapped
        not_packed.jsonl     what could not be read when the pack was made

    Only the manifest is read at the start. Each process opens the database for itself, so
    workers may be forked or spawned.

    Args:
        min_area_ratio: Records whose largest mask covers less than this are not drawn; a mask
            counts with the view in which less of it is seen.
        frame_distance: Smallest and largest number of video frames between the views; only for
            packs made by ``tools/prepare_sav.py``, which know it.
        every_expression: All texts of a region, instead of one drawn at random (validation).
        max_masks: Take at most this many masks of an image, chosen at random; None takes all.
        copy_timeout: Seconds to wait for another process that copies the pack from a bucket.
    """

    LAYOUT = 'Expected manifest.json and data.mdb.'
    SOURCE = 'tools/pack_dataset.py or tools/prepare_sav.py; https://github.com/LMDB for the format'

    def __init__(
        self,
        data_root: str,
        min_area_ratio: float = 0.0,
        frame_distance: tuple[int, int] | None = None,
        every_expression: bool = False,
        max_masks: int | None = 32,
        copy_timeout: float = 7200.0,
        **kwargs: Any,
    ) -> None:
        self.min_area_ratio, self.frame_distance = min_area_ratio, frame_distance
        self.every_expression, self.max_masks = every_expression, max_masks
        self.copy_timeout = copy_timeout
        super().__init__(data_root=data_root, **kwargs)

    def lazy_records(self) -> Sequence[dict]:
        self.folder = self._local_folder()
        manifest = read_manifest(self.folder)
        names = NameColumn(self.folder, 'names')
        good = np.load(self.folder / 'area_ratio.npy', mmap_mode='r') >= self.min_area_ratio
        if self.frame_distance is not None:
            distance = np.load(self.folder / 'frame_distance.npy', mmap_mode='r')
            if (distance < 0).any():
                raise ValueError(
                    f'{self.data_root} does not record frame distances. Set frame_distance=None.'
                )
            good &= (distance >= self.frame_distance[0]) & (distance <= self.frame_distance[1])
        good[names.positions_of(self.skipped_ids())] = False
        rows = np.flatnonzero(good)[: self.max_samples]
        if not len(rows):
            raise ValueError(
                f'none of the {manifest["records"]} records of {self.data_root} passes the filter.'
            )
        return _PackedRecords(names, rows)

    def _local_folder(self) -> Path:
        """The pack's folder; LMDB needs a file on this machine, so that one in a bucket is copied, once."""
        root = self.check_path(self.root)
        return copied_folder(root, PACK_FILES, self.copy_timeout) if isinstance(root, RemotePath) else root

    def read_record(self, record: dict) -> RawSample:
        packed = self.read_packed(record['row'])
        rows, expressions = self._draw(packed)
        views = [_raw_view(view, rows) for view in packed.views]
        second = views[1] if len(views) > 1 else None
        absent = [packed.absent[row] for row in rows] if packed.absent else []
        return RawSample(self.name, packed.sample_id, views[0], second, expressions, absent)

    def read_packed(self, row: int) -> PackedRecord:
        """A record as it is stored."""
        try:
            with open_environment(str(self.folder)).begin(buffers=True) as transaction:
                data = transaction.get(record_key(row))
                if data is None:
                    raise ValueError(f'record {row} is not in {self.data_root}/data.mdb')
                return decode_record(bytes(data))
        except lmdb.Error as error:  # a damaged page of its tree
            raise OSError(f'record {row} of {self.data_root}/data.mdb cannot be read ({error})') from error

    def _draw(self, packed: PackedRecord) -> tuple[list[int], list[str | None]]:
        rows: list[int] = list(range(len(packed.texts)))
        if self.max_masks is not None and len(rows) > self.max_masks:
            rows = sorted(np.random.choice(len(rows), self.max_masks, replace=False).tolist())
        chosen: list[tuple[int, str | None]] = []
        for row in rows:
            texts = packed.texts[row]
            if texts and not self.every_expression:
                texts = [texts[np.random.randint(len(texts))]]
            for text in texts:
                check_expression(text)
            chosen += [(row, text) for text in texts] or [(row, None)]
        return [row for row, _ in chosen], [text for _, text in chosen]


class _PackedRecords(Sequence):
    def __init__(self, names: NameColumn, rows: np.ndarray) -> None:
        self.names, self.rows = names, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number):
        row = int(self.rows[number])
        return {'sample_id': self.names[row], 'row': row}


def _raw_view(view: PackedView, rows: list[int]) -> RawView:
    with Image.open(io.BytesIO(view.encoded)) as file:
        image = rgb_pixels(file)
    if image.shape[:2] != view.size:
        raise ValueError(f'the image of {view.image_id} is {image.shape[:2]}, the record says {view.size}')
    rles = [to_rle(view.masks[row], *view.size) for row in rows]
    return RawView(view.image_id, image, LazyMasks.from_rles(rles))
