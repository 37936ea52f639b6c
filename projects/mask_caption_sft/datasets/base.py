"""What all datasets share: reading a record, and reporting what is wrong with it."""

import errno
import hashlib
import logging
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image

from ..structures import BrokenRecord, RegionSample, UnusableRecordError
from .raw_sample import RawSample
from .remote.path import AnyPath, path_of, readable
from .seeding import numpy_seed
from .skip_list import SKIP_LIST, read_skip_list

#: What a damaged file makes the readers raise; any other exception is a bug in the program.
RECORD_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError,
    MemoryError, ArithmeticError, AssertionError, SyntaxError, NotImplementedError,
    zlib.error, struct.error, zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip


#: Errors of a failing disk or network mount; a damaged file raises others.
DISK_ERRORS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EREMOTEIO}
_RETRY_SECONDS = 0.5
_NUM_HASHED = 10_000


class RegionDataset(BaseDataset):
    """A list of records; a subclass lists them and reads one.

    A record that cannot be read becomes a :class:`BrokenRecord` with its name
    and the reason; no other record takes its place. After an I/O error of the disk the
    record is read again, up to ``num_retries`` times.

    Args:
        data_root: Folder of the dataset, or its address: ``s3://bucket/folder`` and the like.
        name: Key in logs and messages; the mix sets it.
        max_samples: Use only the first ``max_samples`` records.
        seed: Makes every draw of a record the same each time (validation);
            None leaves the seeding to the mix.
        pipeline: Transforms of ``datasets.transforms``.
        skip_list: File that lists records to leave out, below ``data_root`` or with an absolute path, as
            ``tools/verify_datasets.py`` writes it, and a run its ``skipped_records.jsonl``. The default
            file need not exist.
        num_retries: How often to try again after an I/O error of the disk, or when a bucket does not answer.
        backend_args: Of MMEngine's file client, for an address: ``dict(endpoint_url=...)``, or
            ``dict(backend='petrel', ...)``; see ``docs/datasets.md``.
    """

    #: What the folder should look like, and where it comes from; used in messages.
    LAYOUT, SOURCE = '', ''

    def __init__(
        self,
        data_root: str,
        name: str | None = None,
        max_samples: int | None = None,
        seed: int | None = None,
        pipeline: Sequence[Any] = (),
        lazy_init: bool = False,
        skip_list: str = SKIP_LIST,
        num_retries: int = 2,
        backend_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.name = name or type(self).__name__.lower()
        self.skip_list, self.num_retries, self.backend_args = skip_list, num_retries, backend_args
        self.lazy: Sequence[dict] | None = None
        self._fully_initialized = False
        self.max_samples, self.seed = max_samples, seed
        super().__init__(
            data_root=data_root,
            pipeline=list(pipeline),
            lazy_init=lazy_init,
            indices=max_samples,
            **kwargs,
        )

    @property
    def root(self) -> AnyPath:
        """``data_root`` as a path, on this machine or in a bucket."""
        return path_of(self.data_root, self.backend_args)

    def _join_prefix(self) -> None:
        """BaseDataset joins ``data_prefix`` to the root here; paths are made where files are read instead."""

    def load_data_list(self) -> list[dict]:
        """All records, in order.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: The folder holds no records.
        """
        self.check_path(self.data_root)
        records = self.list_records()
        if not records:
            raise ValueError(
                f'{self.data_root} holds no record for dataset {self.name!r}. {self._expectation()}'
            )
        return records

    def full_init(self) -> None:
        """List the records, or open an index that makes them on demand (:meth:`lazy_records`)."""
        if not self._fully_initialized and self.root.is_dir():
            self.lazy = self.lazy_records()
            self._fully_initialized = self.lazy is not None
        super().full_init()

    def lazy_records(self) -> Sequence[dict] | None:
        """Records made as they are drawn, if the dataset has an index; otherwise None."""
        return None

    def filter_data(self) -> list[dict]:
        """BaseDataset's filter: leaves out what the skip-list names."""
        skipped = self.skipped_ids()
        kept = [record for record in self.data_list if self.short_id(record['sample_id']) not in skipped]
        if not kept:
            raise ValueError(f'every record of dataset {self.name!r} is in {self.skip_list}.')
        return kept

    def short_id(self, sample_id: str) -> str:
        """A record's name relative to ``data_root``, as in the skip-list."""
        return sample_id.removeprefix(str(self.data_root).rstrip('/') + '/')

    def skipped_ids(self) -> set[str]:
        """Short ids in the skip-list."""
        is_absolute = PurePosixPath(self.skip_list).is_absolute()
        path = path_of(self.skip_list) if is_absolute else self.root / self.skip_list
        if not path.exists() and self.skip_list == SKIP_LIST:
            return set()
        skipped = {self.short_id(name) for name in read_skip_list(self.check_path(path))}
        print_log(f'{self.name}: {path} leaves out {len(skipped)} records.', 'current')
        return skipped

    def __len__(self) -> int:
        if not self._fully_initialized:
            self.full_init()
        return super().__len__() if self.lazy is None else len(self.lazy)

    def get_data_info(self, idx: int) -> dict:
        """The record at this position."""
        if not self._fully_initialized:
            self.full_init()
        return super().get_data_info(idx) if self.lazy is None else self.lazy[idx]

    def names_digest(self) -> str:
        """Tells one list of records from another: a hash of their names, relative to ``data_root``.

        Of all names up to 10,000; of a larger dataset, 10,000 that are spread evenly.
        """
        digest = hashlib.sha256()
        for index in np.linspace(0, len(self) - 1, min(len(self), _NUM_HASHED)).round().astype(int).tolist():
            digest.update(self.short_id(self.get_data_info(index)['sample_id']).encode() + b'\n')
        return digest.hexdigest()

    def _expectation(self) -> str:
        return f'{self.LAYOUT} From: {self.SOURCE}. Set data_root in the config, or see docs/datasets.md.'

    def list_records(self) -> list[dict]:
        """All records of the folder; ``sample_id`` names a record in messages."""
        raise TypeError(f'{type(self).__name__} must define list_records().')

    def read_record(self, record: dict) -> RawSample:
        """Images, masks and texts of one record; raises if anything is wrong with it."""
        raise TypeError(f'{type(self).__name__} must define read_record().')

    def check_path(self, path: str | AnyPath) -> AnyPath:
        """The path, if it exists; otherwise an error that says what was expected."""
        path = path_of(path, self.backend_args)
        if not path.exists():
            raise FileNotFoundError(f'{path} is missing (dataset {self.name!r}). {self._expectation()}')
        return path

    def __getitem__(self, index: int) -> RegionSample | BrokenRecord:
        record = self.get_data_info(index)
        seeded = nullcontext() if self.seed is None else numpy_seed(self.seed, index)
        try:
            with seeded:
                sample = self._read_patiently(record)
                self._name_dropped(sample)
                return self.pipeline({'sample': sample})['sample']
        except UnusableRecordError as error:
            return BrokenRecord(self.name, record['sample_id'], f'unusable: {error}', is_unusable=True)
        except RECORD_ERRORS as error:
            reason = f'{type(error).__name__}: {error}'
            return BrokenRecord(self.name, record['sample_id'], reason)

    def _name_dropped(self, sample: RawSample) -> None:
        for reason in getattr(sample, 'dropped', ()):
            print_log(f'{sample.sample_id}: a mask is left out: {reason}', 'current', logging.WARNING)

    def _read_patiently(self, record: dict) -> RawSample:
        for _ in range(self.num_retries):
            try:
                return self.read_record(record)
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                print_log(f'{record["sample_id"]}: {error}; trying again', 'current', logging.WARNING)
                time.sleep(_RETRY_SECONDS)
        return self.read_record(record)


def read_image(path: str | AnyPath) -> np.ndarray:
    """An image file as ``[H, W, 3]`` uint8 RGB.

    Raises:
        OSError: The file is missing, truncated or not an image; the message names it.
        ValueError: See :func:`rgb_pixels`.
    """
    try:
        with Image.open(readable(path)) as image:
            return rgb_pixels(image)
    except (OSError, SyntaxError) as error:
        number = getattr(error, 'errno', None)
        raise OSError(number, f'{path} cannot be read as an image ({error})') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def rgb_pixels(image: Image.Image) -> np.ndarray:
    """An image of Pillow as ``[H, W, 3]`` uint8 RGB.

    Raises:
        ValueError: Its pixels have more than 8 bits, and Pillow would clip them: the picture would be white.
    """
    if image.mode[0] in 'IF':
        raise ValueError(
            f'the image has pixels of 16 or 32 bits (mode {image.mode!r}); convert it to 8 bits per channel'
        )
    return np.asarray(image if image.mode == 'RGB' else image.convert('RGB'))
