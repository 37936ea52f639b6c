"""A work dir belongs to one run at a time."""

import fcntl
import getpass
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .atomic_backend import is_leftover

LOCK_NAME = '.lock'
#: Where checkpoints go that a run does not continue.
SET_ASIDE = 'set_aside_{}'


class WorkDirTakenError(ValueError):
    """Another run holds the work dir."""


def lock_work_dir(work_dir: str | Path) -> IO[str] | None:
    """Take the work dir for as long as the returned file is open; None where the disk has no locks.

    The kernel gives the lock back when the process ends, however it ends; worker processes do not
    inherit it. The file itself stays, and says who holds the lock or held it last.

    Raises:
        WorkDirTakenError: Another run holds it; the message names the holder.
    """
    path = Path(work_dir) / LOCK_NAME
    file = path.open('a+')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise _taken_error(work_dir, file) from error
    except OSError:  # a network disk without locks
        file.close()
        return None
    file.truncate(0)
    file.write(f'process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}, {time.ctime()}\n')
    file.flush()
    return file


def check_free(work_dir: str | Path) -> None:
    """Raise :class:`WorkDirTakenError` if a run of another process holds the work dir; nothing is changed."""
    path = Path(work_dir) / LOCK_NAME
    if not path.is_file():
        return
    with path.open() as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise _taken_error(work_dir, file) from error
        except OSError:  # a network disk without locks
            return


def _taken_error(work_dir: str | Path, file: IO[str]) -> WorkDirTakenError:
    file.seek(0)
    holder = file.read().strip() or 'a run that left no name'
    return WorkDirTakenError(
        f'{work_dir} is in use by {holder}. Two runs would overwrite each other: give this one '
        'another --work-dir, or end the other first.'
    )


@contextmanager
def writable(work_dir: str | Path) -> Iterator[Path]:
    """Inside, the folder exists; afterwards those that were made for it are gone again, if they are empty.

    Raises:
        OSError: Nothing can be written there; the message says what to do.
    """
    path = Path(work_dir)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(
            f'The work dir {work_dir} cannot be written ({error.strerror or error}). Give another --work-dir.'
        ) from error
    try:
        yield path
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def remove_leftovers(folder: str | Path) -> list[str]:
    """Delete what killed saves have left; only for the run that holds the lock. Returns the names."""
    found = [path for path in Path(folder).glob('.*.tmp') if is_leftover(path)]
    for path in found:
        path.unlink(missing_ok=True)
    return [path.name for path in found]


def set_aside(work_dir: str | Path, paths: list[Path], timestamp: str) -> Path:
    """Move files of the work dir into a folder of their own below it; returns the folder."""
    folder = Path(work_dir) / SET_ASIDE.format(re.sub(r'\W', '_', timestamp))
    folder.mkdir(exist_ok=True)
    for path in paths:
        path.rename(folder / path.name)
    return folder
