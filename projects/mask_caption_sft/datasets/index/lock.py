"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.logging import print_log


@contextmanager
def exclusive(folder: str | Path, timeout: float, mend: str) -> Iterator[None]:
    """Hold a folder's lock. The kernel gives it back when the process ends, however it ends.

    Args:
        folder: Has to be writable.
        timeout: Seconds to wait for another process.
        mend: Ends the message if that was not enough.

    Raises:
        TimeoutError: Another process has held it all the time.
    """
    path = Path(folder) / '.lock'
    lock = FileLock(str(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print_log(f'Another process is writing {folder}; waiting for it, up to {timeout:g} s.', 'current')
        try:
            lock.acquire(timeout=timeout, poll_interval=0.2)
        except Timeout as error:
            raise TimeoutError(
                f'waited {timeout:g} s for another process that writes {folder} (it holds {path}). {mend}'
            ) from error
    try:
        yield
    finally:
        lock.release()
