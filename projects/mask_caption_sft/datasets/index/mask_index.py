"""An index of masks in memory-mapped columns: no annotation file is opened at the start."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .mask_filter import MaskFilter
from .name_column import NameColumn

FORMAT_VERSION = 1
#: One value per mask. ``position`` is that of the annotation in its JSON file, or the byte at which the
#: row begins in its table.
COLUMNS = {
    'position': np.int64, 'area_ratio': np.float32, 'predicted_iou': np.float32,
    'stability_score': np.float32, 'touches_border': np.bool_, 'label': np.int16,
}  # fmt: skip
_MASKS_PER_CHUNK = 4_000_000


class MaskIndex:
    """F images and the M masks in them, as :mod:`.build` wrote them.

    On disk::

        index.json              version, counts, what it was made from, files that could not be read
        names.bin, names_ends.npy   F names of images or annotation files
        ends.npy                [F] int64; masks ends[f-1]:ends[f] belong to f
        {column}.npy            [M], see ``COLUMNS``
        usable-*.npy            images with a mask that passes a filter; made when first needed

    Raises:
        FileNotFoundError: There is no index.
        ValueError: The index has a different version or is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info: dict[str, Any] = json.loads((self.folder / 'index.json').read_text())
        mend = f'Remove {self.folder} and run tools/build_index.py.'
        if self.info['version'] != FORMAT_VERSION:
            raise ValueError(
                f'{self.folder} has version {self.info["version"]}, needed {FORMAT_VERSION}. {mend}'
            )
        try:
            self.names = NameColumn(self.folder, 'names')
            self.ends = np.load(self.folder / 'ends.npy', mmap_mode='r')
            self.columns = {name: np.load(self.folder / f'{name}.npy', mmap_mode='r') for name in COLUMNS}
        except (OSError, ValueError) as error:
            raise ValueError(f'{self.folder} is damaged ({error}). {mend}') from error

    def __reduce__(self):
        return MaskIndex, (self.folder,)

    def __len__(self) -> int:
        return len(self.names)

    def masks_of(self, image: int) -> slice:
        """Rows of the columns that hold an image's masks."""
        start = int(self.ends[image - 1]) if image > 0 else 0
        return slice(start, int(self.ends[image]))

    def passing(self, image: int, mask_filter: MaskFilter) -> np.ndarray:
        """Rows of those masks of an image that pass."""
        rows = self.masks_of(image)
        good = mask_filter.passes({name: column[rows] for name, column in self.columns.items()})
        return rows.start + np.flatnonzero(good)

    def usable(self, mask_filter: MaskFilter, skipped: set[str] = frozenset()) -> np.ndarray:  # type: ignore[assignment]
        """Images with a mask that passes, in order, ``[U]`` int64; mapped, and saved beside the columns.

        Args:
            mask_filter: Decides which masks pass.
            skipped: Names of images to leave out.
        """
        key = repr((mask_filter, sorted(skipped), self.info['made'])).encode()
        path = self.folder / f'usable-{hashlib.sha256(key).hexdigest()[:16]}.npy'
        if not path.exists():
            images = self._find_usable(mask_filter)
            images = np.setdiff1d(images, self.names.positions_of(skipped), assume_unique=True)
            temporary = path.with_name(f'{path.stem}.{os.getpid()}.tmp.npy')
            try:
                np.save(temporary, images)
                temporary.replace(path)
            except OSError:  # a read-only disk: the list stays in memory for this run
                return images
        return np.load(path, mmap_mode='r')

    def _find_usable(self, mask_filter: MaskFilter) -> np.ndarray:
        found, image = [np.zeros(0, np.int64)], 0
        while image < len(self):
            start = self.masks_of(image).start
            stop = int(np.searchsorted(self.ends, start + _MASKS_PER_CHUNK, 'right'))
            stop = min(len(self), max(stop, image + 1))
            rows = slice(start, int(self.ends[stop - 1]))
            good = mask_filter.passes({name: column[rows] for name, column in self.columns.items()})
            before = np.concatenate([[0], np.cumsum(good)])
            starts = np.concatenate([[start], self.ends[image : stop - 1]]) - start
            count = before[self.ends[image:stop] - start] - before[starts]
            found.append(image + np.flatnonzero(count))
            image = stop
        return np.concatenate(found)

    def changes(self, root: str | Path) -> list[str]:
        """Why the index is stale, if it is; checks the folders, but only a sample of the files."""
        return [
            text
            for name, then in self.info['signature'].items()
            if (text := _change(Path(root) / name, name, then))
        ]


def signature(root: str | Path, names: list[str], suffix: str | None = None) -> dict[str, dict[str, int]]:
    """What is needed to tell later whether files or folders have changed.

    Args:
        root: The folder that holds them.
        names: Relative paths.
        suffix: In folders, count only files with this ending.
    """
    return {name: _look_at(Path(root) / name, suffix) for name in names}


def _look_at(path: Path, suffix: str | None) -> dict[str, Any]:
    stat = path.stat()
    if path.is_dir():
        return {'modified': stat.st_mtime_ns, 'files': _count(path, suffix), 'suffix': suffix}
    return {'modified': stat.st_mtime_ns, 'bytes': stat.st_size}


def _count(folder: Path, suffix: str | None) -> int:
    return sum(entry.name.endswith(suffix or '') for entry in os.scandir(folder))


def _change(path: Path, name: str, then: dict[str, Any]) -> str | None:
    if not path.exists():
        return f'{name} is gone'
    stat = path.stat()
    if stat.st_mtime_ns == then['modified']:
        return None
    if 'files' in then:
        count = _count(path, then['suffix'])
        return None if count == then['files'] else f'{name} has {count} files instead of {then["files"]}'
    return f'{name} has changed'
