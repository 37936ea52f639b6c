"""A source of many files below one folder."""

from dataclasses import dataclass
from typing import Any

from ..remote.listing import list_files, remote_differences
from ..remote.path import RemotePath, path_of
from .listing import MAX_LOOKED_AT, Listing, sampled_differences
from .source import TableSource

_FILES_PER_TASK, _LEAST_FILES_PER_TASK = 2000, 500


@dataclass(frozen=True)
class FileTree(TableSource):
    """All files below ``root`` whose names match ``PATTERN``."""

    PATTERN = '*'

    def list_files(self) -> Listing:
        return list_files(path_of(self.root), self.PATTERN)

    def changes(self, then: dict[str, Any]) -> list[str]:
        root = path_of(self.root)
        if isinstance(root, RemotePath):
            return remote_differences(then, root, self.PATTERN)
        if then['count'] > MAX_LOOKED_AT:
            return sampled_differences(then, root, self.PATTERN)
        return super().changes(then)

    def tasks(self, listing: Listing) -> list[list[int]]:
        """Up to 2000 files each; a task ends with its folder if it can, so that a new folder changes few."""
        tasks: list[list[int]] = []
        folder = None
        for row, name in enumerate(listing.names):
            before, folder = folder, name.rpartition('/')[0]
            least = _FILES_PER_TASK if before == folder else _LEAST_FILES_PER_TASK
            if not tasks or len(tasks[-1]) >= least:
                tasks.append([])
            tasks[-1].append(row)
        return tasks
