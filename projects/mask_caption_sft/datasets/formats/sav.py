"""SA-V frame pairs."""

import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...structures import UnusableRecordError
from ..index.schema import MaskRows, TablePart
from ..index.tree import FileTree
from ..inside import inside
from ..raw_sample import RawSample, RawView
from ..remote.path import AnyPath, readable
from ..tabled import TabledDataset

#: A frame of 512 x 512 takes 3 MiB; 8K takes 400.
_MAX_ARRAY_BYTES = 2**29
_KEYS = ('frame1', 'mask1', 'frame2', 'mask2')


class SAVPairs(TabledDataset):
    """Two frames of one video with the mask of one object in each; no text.

    On disk::

        **/masklet_data_*.npz   frame1, frame2  (512, 512, 3) float32 in 0..255, **BGR**
                                mask1, mask2    (512, 512) float32 in 0..255, > 127 is the object

    Frames in another range are refused. The channels are blue, green, red: read as RGB, skin looks blue.
    Some masks are empty (the object is hidden in one frame); such a pair is reported and not drawn.

    Args:
        channel_order: ``'bgr'`` as the pairs were written, or ``'rgb'``.
    """

    LAYOUT = 'Expected **/masklet_data_*.npz with frame1, mask1, frame2, mask2.'
    SOURCE = 'pairs of frames cut from SA-V, https://ai.meta.com/datasets/segment-anything-video'

    def __init__(self, data_root: str, channel_order: str = 'bgr', **kwargs) -> None:
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(f"channel_order={channel_order!r} is not one of 'bgr', 'rgb'.")
        self.channel_order = channel_order
        super().__init__(data_root=data_root, **kwargs)

    def table_source(self) -> 'SAVFiles':
        return SAVFiles(self.root)

    def make_record(self, row: dict[str, Any]) -> dict[str, Any]:
        return {}

    def group_of(self, name: str) -> str:
        """Its video, where ``tools/prepare_sav.py`` has written the pair; otherwise the pair."""
        folder, _, stem = name.rpartition('/')
        video = folder.rpartition('/')[2]
        return folder if video and f'_{video}_' in stem else name

    def read_masks(self, record: dict) -> RawSample:
        # A table that came with the data may name anything.
        arrays = self._read_arrays(inside(self.root, self.short_id(record['sample_id'])))
        views = []
        for number in (1, 2):
            frame, mask = arrays[f'frame{number}'], arrays[f'mask{number}']
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.shape[:2] != mask.shape:
                raise ValueError(
                    f'frame{number} of {frame.shape} does not match mask{number} of {mask.shape}'
                )
            for key in (f'frame{number}', f'mask{number}'):
                if not np.isfinite(arrays[key]).all():
                    raise ValueError(f'{key} holds values that are not finite')
            check_range(f'frame{number}', frame)
            if 0 < mask.max() <= 1:
                raise ValueError(f'mask{number} is in 0..1; masks are written in 0..255, multiply by 255')
            if self.channel_order == 'bgr':
                frame = frame[..., ::-1]
            pixels = np.ascontiguousarray(frame.clip(0, 255).astype(np.uint8))
            views.append(RawView(f'{record["sample_id"]}#{number}', pixels, (mask > 127)[None]))
            if not views[-1].masks.any():
                raise UnusableRecordError(f'mask{number} is empty: the object is not visible in that frame')
        return RawSample(self.name, record['sample_id'], views[0], views[1], [None])

    def _read_arrays(self, path: AnyPath) -> dict[str, np.ndarray]:
        try:
            with np.load(readable(path), allow_pickle=False) as file:
                missing = [key for key in _KEYS if key not in file.files]
                if missing:
                    raise ValueError(f'keys {missing} are missing; the file has {sorted(file.files)}')
                for key in _KEYS:
                    _check_header(file.zip, f'{key}.npy')
                return {key: file[key] for key in _KEYS}
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise OSError(f'truncated or not an npz file ({error})') from error


@dataclass(frozen=True)
class SAVFiles(FileTree):
    """Lists pairs in the mask table; the files are not opened, so nothing else is known of them."""

    KIND, PATTERN = 'sav', 'masklet_data_*.npz'

    def read(self, names: Sequence[str]) -> TablePart:
        rows = MaskRows()
        for name in names:
            rows.add(record=name, image=name, source=name, reference='mask1, mask2')
        return rows.part()


def check_range(name: str, frame: np.ndarray) -> None:
    """Raise ``ValueError`` for a frame that was scaled: read as 0..255 it would be black or white.

    Values from 0 to 1, from -1 to 1, or with mean and deviation of a data set taken out, lie below 4;
    16 bits reach far above 255. A frame that is black everywhere passes.
    """
    lowest, highest = float(frame.min()), float(frame.max())
    is_scaled = (lowest < 0 or highest <= 1) and highest <= 4 and (lowest, highest) != (0, 0)
    if is_scaled or highest >= 512 or lowest <= -256:
        raise ValueError(
            f'{name} has a range of values from {lowest:g} to {highest:g}; frames are written in 0..255. '
            'Scale them back and write the pair again.'
        )


def _check_header(archive: zipfile.ZipFile, entry: str) -> None:
    """Raise ``ValueError`` for an array whose header promises more than there is: NumPy would allocate it."""
    size = archive.getinfo(entry).file_size
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        start = file.tell()
    promised = math.prod(shape) * dtype.itemsize
    if promised > _MAX_ARRAY_BYTES or promised > size - start:
        raise ValueError(
            f'{entry} says it is {dtype} of {shape}, {promised} bytes; {size - start} are there and '
            f'{_MAX_ARRAY_BYTES} are allowed'
        )
