"""Paths that an annotation file names."""

from pathlib import PurePosixPath

from .remote.path import AnyPath, path_of


def inside(folder: str | AnyPath, name: str) -> AnyPath:
    """``folder / name``, for a name that stays below the folder.

    Only the name is judged: a folder or a file may be a link to another disk, as its owner made it.

    Raises:
        ValueError: The name is absolute or has a part ``..``.
    """
    parts = PurePosixPath(str(name)).parts
    if not parts or str(name).startswith('/') or '..' in parts or '\0' in str(name):
        raise ValueError(
            f'{str(name)!r} is not a path below {folder}. Names in annotation files must be relative and '
            'without "..": correct the file, or leave the record out with the skip-list.'
        )
    return path_of(folder) / name
