"""Which files there are, and whether they are still those of an earlier time."""

import fnmatch
import hashlib
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from .place import PARTS, TABLE

#: Up to this many files are all looked at when a table is opened; of more, the folders and a sample.
MAX_LOOKED_AT = 20_000
_NUM_SAMPLED = 1000
#: Stands for the time and number of files of a folder that is not searched.
_LEFT_OUT = (0, -1)


@dataclass
class Listing:
    """N files below a root.

    Attributes:
        names: Relative paths, in order.
        stats: ``[N, 2]`` int64: bytes, and time of the last change in ns. A file that cannot be looked at
            (a link that leads nowhere) has -1, 0.
        folders: Folders that were searched: time of the last change in ns, number of files that count.
    """

    names: list[str]
    stats: np.ndarray
    folders: dict[str, tuple[int, int]] = field(default_factory=dict)

    def digest(self) -> str:
        """A hash of names, sizes and times."""
        hashed = hashlib.sha256('\n'.join(self.names).encode(errors='surrogateescape'))
        hashed.update(self.stats.astype('<i8').tobytes())
        return hashed.hexdigest()

    def rows(self, rows: Iterable[int]) -> 'Listing':
        """Some of the files."""
        chosen = list(rows)
        return Listing([self.names[row] for row in chosen], self.stats[chosen])

    def remembered(self) -> dict[str, Any]:
        """What :func:`changes` needs later, as plain values."""
        count = len(self.names)
        chosen = range(count)
        if count > MAX_LOOKED_AT:
            chosen = np.linspace(0, count - 1, _NUM_SAMPLED).round().astype(int).tolist()  # type: ignore[assignment]
        files = {self.names[row]: self.stats[row].tolist() for row in chosen}
        return {'count': count, 'files': files, 'folders': self.folders}


def list_named(root: str | Path, names: Iterable[str]) -> Listing:
    """Files that are known by name (relative to ``root``, or absolute)."""
    chosen = list(names)
    stats = np.array([_look_at(os.path.join(root, name)) for name in chosen], np.int64).reshape(-1, 2)
    return Listing(chosen, stats)


def list_tree(root: str | Path, pattern: str) -> Listing:
    """Files below ``root`` whose names match a pattern, in the order of their paths.

    Links to folders are followed. A folder that is reached twice is listed once, by its own path rather
    than by a link's, so links may lead in circles. Hidden folders and mask
    tables are left out.
    """
    matches = re.compile(fnmatch.translate(pattern)).match
    found: list[tuple[str, tuple[int, int]]] = []
    folders: dict[str, tuple[int, int]] = {}
    seen: set[tuple[int, int]] = set()
    # Links are taken up once there is no folder left, so that a folder keeps its own path.
    waiting: list[str] = ['']
    links: list[str] = []
    while waiting or links:
        name = waiting.pop() if waiting else links.pop()
        path = os.path.join(root, name)
        try:
            stat = os.stat(path)
            with os.scandir(path) as entries:
                visible = sorted((e for e in entries if not e.name.startswith('.')), key=lambda e: e.name)
        except OSError as error:
            print_log(f'{path} is left out, it cannot be listed: {error}', 'current', logging.WARNING)
            folders[name or '.'] = _LEFT_OUT
            continue
        if name and {TABLE, PARTS} <= {entry.name for entry in visible}:
            folders[name] = _LEFT_OUT  # a mask table
            continue
        if (stat.st_dev, stat.st_ino) in seen:
            print_log(f'{path} leads to a folder that is listed already, and is left out.', 'current')
            folders[name] = _LEFT_OUT
            continue
        seen.add((stat.st_dev, stat.st_ino))
        count = 0
        for entry in reversed(visible):
            below = f'{name}/{entry.name}' if name else entry.name
            if entry.is_dir():
                (links if entry.is_symlink() else waiting).append(below)
            elif matches(entry.name) and _has_text_name(entry):
                found.append((below, _look_at(entry)))
                count += 1
        folders[name or '.'] = (stat.st_mtime_ns, count)
    found.sort(key=lambda pair: pair[0].split('/'))
    stats = np.array([stat for _, stat in found], np.int64).reshape(-1, 2)
    return Listing([name for name, _ in found], stats, folders)


def _has_text_name(entry: os.DirEntry) -> bool:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        print_log(
            f'{entry.path!r} is left out: rename it, its name is not UTF-8.', 'current', logging.WARNING
        )
        return False
    return True


def _look_at(path: str | os.DirEntry) -> tuple[int, int]:
    try:
        stat = os.stat(path) if isinstance(path, str) else path.stat()
    except OSError:
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def differences(then: dict[str, Any], now: Listing) -> list[str]:
    """What has changed in a full listing since another was remembered; a few words for each file."""
    files, texts = {name: tuple(stat) for name, stat in then['files'].items()}, []
    for name, stat in zip(now.names, now.stats.tolist()):
        if name not in files:
            texts.append(f'{name} is new')
        elif files.pop(name) != tuple(stat):
            texts.append(f'{name} has changed')
    return texts + [f'{name} is gone' for name in files]


def sampled_differences(then: dict[str, Any], root: str | Path, pattern: str) -> list[str]:
    """What has changed in the folders and in a sample of their files; files added or removed are found."""
    texts = []
    for name, (modified, count) in then['folders'].items():
        folder = os.path.join(root, name)
        if (modified, count) == _LEFT_OUT:
            continue
        if not os.path.isdir(folder):
            texts.append(f'{name} is gone')
        elif os.stat(folder).st_mtime_ns != modified:
            texts += _changes_within(folder, name, count, then['folders'], pattern)
    for name, stat in then['files'].items():
        now = _look_at(os.path.join(root, name))
        if now != tuple(stat):
            texts.append(f'{name} is gone' if now[0] < 0 else f'{name} has changed')
    return texts


def _changes_within(folder: str, name: str, count: int, known: dict[str, Any], pattern: str) -> list[str]:
    visible = [entry for entry in os.scandir(folder) if not entry.name.startswith('.')]
    below = '' if name == '.' else f'{name}/'
    texts = [
        f'{below}{entry.name} is new'
        for entry in visible
        if entry.is_dir() and f'{below}{entry.name}' not in known
    ]
    now = sum(fnmatch.fnmatchcase(entry.name, pattern) and not entry.is_dir() for entry in visible)
    return texts + ([f'{name} has {now} files instead of {count}'] if now != count else [])
