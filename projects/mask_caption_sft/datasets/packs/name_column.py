"""Many names in one memory-mapped file, so that a worker's memory does not grow with their number."""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

_CHUNK_BYTES = 1 << 24


class NameColumn(Sequence[str]):
    """Names by position, read from ``{stem}.bin`` (UTF-8, one per line) and ``{stem}_ends.npy``.

    Args:
        folder, stem: Where :func:`write_names` put them.
    """

    def __init__(self, folder: str | Path, stem: str) -> None:
        self.path = Path(folder) / f'{stem}.bin'
        self.ends = np.load(self.path.with_name(f'{stem}_ends.npy'), mmap_mode='r')
        size = int(self.ends[-1]) if len(self.ends) else 0
        if self.path.stat().st_size != size:
            raise ValueError(f'{self.path} is truncated: {self.path.stat().st_size} bytes, expected {size}.')
        with self.path.open('rb') as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b''

    def __reduce__(self):
        return NameColumn, (self.path.parent, self.path.stem)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, position: int) -> str: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[str]: ...

    def __getitem__(self, position: int | slice) -> str | Sequence[str]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        start = int(self.ends[position - 1]) if position > 0 else 0
        return self._bytes[start : int(self.ends[position]) - 1].decode()

    def positions_of(self, names: set[str]) -> list[int]:
        """Positions of these names, found in one pass over the file; unknown names are left out."""
        wanted = {name.encode() for name in names}
        found, position, rest = [], 0, b''
        for start in range(0, len(self._bytes), _CHUNK_BYTES) if wanted else ():
            *lines, rest = (rest + self._bytes[start : start + _CHUNK_BYTES]).split(b'\n')
            found += [position + i for i, line in enumerate(lines) if line in wanted]
            position += len(lines)
        return found


def write_names(folder: str | Path, stem: str, names: Iterable[str]) -> None:
    """Write names for :class:`NameColumn`.

    Raises:
        ValueError: A name holds a line break.
    """
    path = Path(folder) / f'{stem}.bin'
    lengths = []
    with path.open('wb') as file:
        for line in _lines(names):
            lengths.append(len(line))
            file.write(line)
    np.save(path.with_name(f'{stem}_ends.npy'), np.cumsum(lengths, dtype=np.int64))


def _lines(names: Iterable[str]) -> Iterator[bytes]:
    for name in names:
        if '\n' in name:
            raise ValueError(f'{name!r} holds a line break; rename the file.')
        yield f'{name}\n'.encode()
