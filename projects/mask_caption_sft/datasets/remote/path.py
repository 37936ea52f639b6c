"""A path in a bucket that reads as one of pathlib does."""

import io
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from mmengine.fileio import get_file_backend

from . import backend as _registers_fsspec  # noqa: F401
from .errors import in_words

_MARK = '://'


class RemotePath:
    """``s3://bucket/folder/name`` and the like, read through MMEngine's file client.

    Args:
        uri: With ``://``.
        backend_args: As MMEngine's datasets take them: ``dict(backend=...)`` and its options; None takes the
            backend of the prefix.
    """

    def __init__(self, uri: str, backend_args: dict[str, Any] | None = None) -> None:
        scheme, _, rest = str(uri).partition(_MARK)
        self.uri = f'{scheme}{_MARK}{posixpath.normpath(rest)}'
        self.backend_args = backend_args

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f'RemotePath({self.uri!r})'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def __truediv__(self, name: str) -> 'RemotePath':
        return RemotePath(str(name) if _MARK in str(name) else f'{self.uri}/{name}', self.backend_args)

    def joinpath(self, *names: str) -> 'RemotePath':
        """With further parts."""
        return self / '/'.join(names)

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath(self.uri.partition(_MARK)[2])

    @property
    def name(self) -> str:
        """The last part."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The ending, with its dot."""
        return self._pure.suffix

    @property
    def parent(self) -> 'RemotePath':
        """What it is in; of a bucket, the bucket."""
        scheme, _, rest = self.uri.partition(_MARK)
        return RemotePath(f'{scheme}{_MARK}{posixpath.dirname(rest) or rest}', self.backend_args)

    @property
    def backend(self) -> Any:
        """The backend that reads it."""
        with in_words(self.uri):
            try:
                return get_file_backend(self.uri, backend_args=self.backend_args, enable_singleton=True)
            except KeyError as error:
                raise ValueError(f'Protocol not known: {error}') from error

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        with in_words(self.uri):
            return self.backend.exists(self.uri)

    def is_dir(self) -> bool:
        """Whether anything is below it."""
        with in_words(self.uri):
            return self.backend.isdir(self.uri)

    def is_file(self) -> bool:
        """Whether there is such a file."""
        with in_words(self.uri):
            return self.backend.isfile(self.uri)

    def iterdir(self, files: bool = True) -> Iterator['RemotePath']:
        """What a folder holds; without ``files`` only folders."""
        with in_words(self.uri):
            names = sorted(self.backend.list_dir_or_file(self.uri, list_file=files))
        return (self / name for name in names)

    def read_bytes(self) -> bytes:
        """Content."""
        with in_words(self.uri):
            return bytes(self.backend.get(self.uri))

    def read_text(self, encoding: str = 'utf-8') -> str:
        """Content as text."""
        return self.read_bytes().decode(encoding)


AnyPath = Path | RemotePath


def is_remote(path: object) -> bool:
    """Whether a path is an address."""
    return isinstance(path, RemotePath) or _MARK in str(path)


def path_of(path: str | AnyPath, backend_args: dict[str, Any] | None = None) -> AnyPath:
    """A path on this machine, or in a bucket if it has ``://``."""
    if isinstance(path, RemotePath):
        return path
    return RemotePath(str(path), backend_args) if is_remote(path) else Path(path)


def absolute(path: AnyPath) -> AnyPath:
    """A path that does not depend on the working directory; links are not followed."""
    return Path(os.path.abspath(path)) if isinstance(path, Path) else path


def readable(path: str | AnyPath) -> Path | BinaryIO:
    """What Pillow and NumPy open: a path, or the content of a file in a bucket."""
    path = path_of(path)
    return path if isinstance(path, Path) else io.BytesIO(path.read_bytes())
