"""Which files there are below a remote folder."""

import fnmatch
import re
from typing import Any

import numpy as np

from ..index.listing import MAX_LOOKED_AT, Listing, differences, list_tree
from .backend import FileFacts
from .copies import facts_of
from .errors import in_words
from .path import AnyPath, RemotePath

#: Each costs a request.
_NUM_LOOKED_AT = 100
_UNKNOWN: FileFacts = (-2, 0)


def list_files(root: AnyPath, pattern: str) -> Listing:
    """Files below ``root`` whose names match a pattern, in the order of their paths, without hidden ones."""
    return list_remote(root, pattern) if isinstance(root, RemotePath) else list_tree(root, pattern)


def list_remote(root: RemotePath, pattern: str) -> Listing:
    """As :func:`list_tree`, of a folder in a bucket."""
    matches = re.compile(fnmatch.translate(pattern)).match
    found = {
        name: facts
        for name, facts in _files_below(root).items()
        if matches(name.rpartition('/')[2]) and not any(part.startswith('.') for part in name.split('/'))
    }
    names = sorted(found, key=lambda name: name.split('/'))
    stats = np.array([found[name] for name in names], np.int64).reshape(-1, 2)
    return Listing(names, stats)


def _files_below(root: RemotePath) -> dict[str, FileFacts]:
    with in_words(str(root)):
        backend = root.backend
        if hasattr(backend, 'files_below'):
            return backend.files_below(str(root))
        # Other backends of MMEngine tell names only: what has changed in a file is then not noticed.
        names = backend.list_dir_or_file(str(root), list_dir=False, recursive=True)
        return dict.fromkeys(names, _UNKNOWN)


def remote_differences(then: dict[str, Any], root: RemotePath, pattern: str) -> list[str]:
    """What has changed since a listing was remembered; of more than 20,000 files, in a sample of 100."""
    if then['count'] <= MAX_LOOKED_AT:
        return differences(then, list_remote(root, pattern))
    texts = []
    names = list(then['files'])
    for row in np.linspace(0, len(names) - 1, _NUM_LOOKED_AT).round().astype(int).tolist():
        name = names[row]
        try:
            if facts_of(root / name) != tuple(then['files'][name]):
                texts.append(f'{name} has changed')
        except FileNotFoundError:
            texts.append(f'{name} is gone')
    return texts
