"""What a mask table is made from: the files of a format, and how they are read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..remote.copies import facts_of, local_copy
from ..remote.path import AnyPath, RemotePath, path_of
from .listing import Listing, differences, list_named
from .schema import FORMAT_VERSION, TablePart


@dataclass(frozen=True)
class TableSource:
    """Derived by each format. Small and picklable: worker processes get one.

    Attributes:
        root: The folder that names are relative to, on this machine or in a bucket.
    """

    root: str | AnyPath

    #: Name of the format.
    KIND = ''

    def place(self, name: str) -> AnyPath:
        """Where a file is."""
        return path_of(self.root) / name

    def arguments(self) -> dict[str, Any]:
        """What else decides the content of the table, as plain values; the table remembers it."""
        return {}

    def list_files(self) -> Listing:
        """The files that the masks are listed in."""
        raise TypeError(f'{type(self).__name__} must define list_files().')

    def changes(self, then: dict[str, Any]) -> list[str]:
        """What has changed since :meth:`Listing.remembered` gave ``then``."""
        return differences(then, self.list_files())

    def tasks(self, listing: Listing) -> list[list[int]]:
        """Rows of the listing that are read together; by default all."""
        return [list(range(len(listing.names)))] if listing.names else []

    def read(self, names: Sequence[str]) -> TablePart:
        """The masks that these files list; the masks of a record must not be in two tasks."""
        raise TypeError(f'{type(self).__name__} must define read().')

    def table_name(self) -> str:
        """Name of a folder; tables that could differ have different ones."""
        text = json.dumps([FORMAT_VERSION, self.arguments()], sort_keys=True)
        return f'{self.KIND}-{hashlib.sha256(text.encode()).hexdigest()[:12]}'

    def task_key(self, files: Listing) -> str:
        """Name of a part: another one if a file or an argument is another."""
        text = f'{self.table_name()}\n{files.digest()}'
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class NamedFiles(TableSource):
    """A source whose files are known by name.

    Attributes:
        files: Their paths, relative to ``root`` or absolute.
    """

    files: tuple[str, ...]

    def list_files(self) -> Listing:
        root = path_of(self.root)
        if isinstance(root, RemotePath):
            return Listing(
                list(self.files), np.array([facts_of(root / name) for name in self.files], np.int64)
            )
        return list_named(root, self.files)

    def path(self, name: str) -> Path:
        """Where a file is on this machine; of one in a bucket, its copy."""
        place = self.place(name)
        return local_copy(place) if isinstance(place, RemotePath) else place
