"""A file backend that never leaves half a file under the final name."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

_TEMPORARY = re.compile(r'\..+\.\d+\.tmp')


def is_leftover(path: Path) -> bool:
    """Whether a file has the name that :class:`AtomicBackend` writes to before it renames."""
    return _TEMPORARY.fullmatch(path.name) is not None


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Local files, written under a temporary name in the same folder and then renamed."""

    @contextmanager
    def replacing(self, filepath: str | Path) -> Iterator[Path]:
        """A temporary name to write to; at the end the file is flushed to disk and takes the final name.

        A crash before that leaves what was there before.
        """
        target = Path(filepath)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
        try:
            yield temporary
            with temporary.open('rb') as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        with self.replacing(filepath) as temporary:
            temporary.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text in the same way."""
        self.put(obj.encode(encoding), filepath)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, before anything that relies on it is deleted."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
