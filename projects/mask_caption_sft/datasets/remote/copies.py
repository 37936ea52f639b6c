"""Copies on this machine of files that have to be local: annotation tables, and the database of a pack."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from ..index.lock import exclusive
from ..index.place import CACHE_VARIABLE, cache_dir, writable
from .backend import FileFacts
from .errors import in_words
from .path import RemotePath

_FACTS = '.copied.json'


def copied_folder(folder: RemotePath, names: Sequence[str], timeout: float = 7200.0) -> Path:
    """A folder of this machine that holds these files of a remote folder, as they are now.

    One process copies, with a lock; others wait. A file is copied again when the store tells another size or
    ETag. Copies lie in ``$MASK_CAPTION_SFT_CACHE/copies``.

    Args:
        folder: In the bucket.
        names: Of its files. The last one is copied last.
        timeout: Seconds to wait for another process.

    Raises:
        FileNotFoundError: A file is missing.
        OSError: The store does not answer, or the disk is too small.
        TimeoutError: Another process took too long.
    """
    below = f'{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}'
    local = writable([cache_dir() / 'copies' / below])
    with exclusive(local, timeout, 'Start again once it has ended.'):
        known = _known(local)
        for name in names:
            facts = facts_of(folder / name)
            if known.get(name) == list(facts) and (local / name).is_file():
                continue
            copy_file(folder / name, local / name, facts[0])
            known[name] = list(facts)
            (local / _FACTS).write_text(json.dumps(known))
    return local


def local_copy(path: RemotePath) -> Path:
    """A copy of one file, see :func:`copied_folder`."""
    return copied_folder(path.parent, [path.name]) / path.name


def facts_of(path: RemotePath) -> FileFacts:
    """Size of a file, and a number that changes with its content; -2, 0 if the backend tells neither."""
    with in_words(str(path)):
        look_at = getattr(path.backend, 'look_at', None)
        return look_at(str(path)) if look_at else (-2, 0)


def _known(local: Path) -> dict[str, list[int]]:
    try:
        return json.loads((local / _FACTS).read_text())
    except (OSError, ValueError):
        return {}


def copy_file(path: RemotePath, local: Path, size: int) -> None:
    """Copy a file of this size; it appears here when it is complete.

    Raises:
        OSError: The disk is too small, or the store does not answer.
    """
    local.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(local.parent).free
    if size > free:
        raise OSError(
            f'{path} has {size:,} bytes and {local.parent} has room for {free:,}. Set {CACHE_VARIABLE} to a '
            'folder on a larger disk.'
        )
    print_log(f'Copying {path} ({size / 1e6:,.1f} MB) to {local}.', 'current')
    temporary = local.with_name(f'.{local.name}.{os.getpid()}.tmp')
    try:
        with in_words(str(path)):
            download = getattr(path.backend, 'copyfile_to_local', None)
            if download is None:
                temporary.write_bytes(path.read_bytes())
            else:
                download(str(path), temporary)
        temporary.replace(local)
    finally:
        temporary.unlink(missing_ok=True)
