"""What all datasets share: reading one record, and saying what is wrong with it."""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from ..structures import BrokenRecord, RegionSample
from .seeding import numpy_seed
from .transforms import RawSample

#: What a damaged file makes the readers raise; anything else is an error of the program.
RECORD_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError,
    zlib.error, struct.error, zipfile.BadZipFile, Image.DecompressionBombError,
)  # fmt: skip


class RegionDataset(BaseDataset):
    """A list of records; a subclass lists them and reads one.

    A record that cannot be read becomes a :class:`BrokenRecord` with its name
    and the reason. It is never replaced by another one.

    Args:
        data_root: Folder of the dataset.
        name: Key in logs and messages; the mix sets it.
        max_samples: Use the first so many records only.
        seed: Makes every draw of a record the same each time (validation);
            None leaves the seeding to the mix.
        pipeline: Transforms of ``datasets.transforms``.
    """

    #: What the folder should look like, and where it comes from; for messages.
    LAYOUT, SOURCE = '', ''

    def __init__(
        self,
        data_root: str,
        name: str | None = None,
        max_samples: int | None = None,
        seed: int | None = None,
        pipeline: Sequence[Any] = (),
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        self.name = name or type(self).__name__.lower()
        self.max_samples, self.seed = max_samples, seed
        super().__init__(
            data_root=data_root,
            pipeline=list(pipeline),
            lazy_init=lazy_init,
            indices=max_samples,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Records by position.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: There is no record in it.
        """
        self.check_path(self.data_root)
        records = self.list_records()
        if not records:
            raise ValueError(
                f'{self.data_root} holds no record for dataset {self.name!r}. {self._expectation()}'
            )
        return records

    def _expectation(self) -> str:
        return f'{self.LAYOUT} From: {self.SOURCE}. Set data_root in the config, or see docs/datasets.md.'

    def list_records(self) -> list[dict]:
        """Every record of the folder; ``sample_id`` names it in messages."""
        raise TypeError(f'{type(self).__name__} must define list_records().')

    def read_record(self, record: dict) -> RawSample:
        """Images, masks and texts of one record; raises for what is wrong with it."""
        raise TypeError(f'{type(self).__name__} must define read_record().')

    def check_path(self, path: str | Path) -> Path:
        """The path, if it exists; otherwise an error that says what was expected."""
        if not Path(path).exists():
            raise FileNotFoundError(f'{path} is missing (dataset {self.name!r}). {self._expectation()}')
        return Path(path)

    def __getitem__(self, index: int) -> RegionSample | BrokenRecord:
        if not self._fully_initialized:
            self.full_init()
        record = self.get_data_info(index)
        seeded = nullcontext() if self.seed is None else numpy_seed(self.seed, index)
        try:
            with seeded:
                return self.pipeline({'sample': self.read_record(record)})['sample']
        except RECORD_ERRORS as error:
            reason = f'{type(error).__name__}: {error}'
            return BrokenRecord(self.name, record['sample_id'], reason)


def read_image(path: str | Path) -> np.ndarray:
    """An image file as ``[H, W, 3]`` uint8 RGB.

    Raises:
        OSError: The file is missing, truncated or not an image; names it.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert('RGB'))
    except (OSError, SyntaxError) as error:
        raise OSError(f'{path} cannot be read as an image ({error})') from error
