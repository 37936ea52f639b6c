"""Any store that fsspec reads, as a backend of MMEngine's file client."""

import hashlib
import os
import posixpath
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import fsspec
from mmengine.fileio import BaseStorageBackend, register_backend

#: MMEngine gives ``s3`` to Petrel, which only those have who run it: they keep it.
_PREFIXES = ['gs', 'gcs', 'az', 'abfs', 'memory', *([] if find_spec('petrel_client') else ['s3'])]

#: Bytes of a file, and a number that is another if its content is.
FileFacts = tuple[int, int]


@register_backend('fsspec', prefixes=_PREFIXES, force=True)
class FsspecBackend(BaseStorageBackend):
    """Reads ``s3://``, ``gs://``, ``az://`` and the other stores of fsspec; writes nothing.

    Args:
        options: Of the file system: for S3 ``endpoint_url``, ``key``, ``secret``, ``anon``, ``profile``,
            ``config_kwargs`` (https://s3fs.readthedocs.io). Without any, those of the environment.
    """

    def __init__(self, **options: Any) -> None:
        # A listing that is remembered would hide what has changed since.
        self.options = {'use_listings_cache': False, **options}

    def _open(self, uri: str) -> tuple[Any, str]:
        # fsspec keeps one file system per process and options: a forked worker gets its own.
        return fsspec.core.url_to_fs(str(uri), **self.options)

    def get(self, filepath: str) -> bytes:
        """Content of a file."""
        store, path = self._open(filepath)
        return store.cat_file(path)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Content of a file as text."""
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str) -> bool:
        """Whether there is a file, or anything below a folder of that name."""
        store, path = self._open(filepath)
        try:
            store.info(path)
        except FileNotFoundError as error:
            if 'bucket' in str(error).lower():
                raise
            return False
        return True

    def isdir(self, filepath: str) -> bool:
        """Whether anything is below a folder of that name."""
        return self.exists(filepath) and self._info(filepath)['type'] == 'directory'

    def isfile(self, filepath: str) -> bool:
        """Whether there is a file."""
        return self.exists(filepath) and self._info(filepath)['type'] == 'file'

    def _info(self, filepath: str) -> dict[str, Any]:
        store, path = self._open(filepath)
        return store.info(path)

    def join_path(self, filepath: str, *filepaths: str) -> str:
        """Parts of a path."""
        return posixpath.join(filepath, *filepaths)

    def list_dir_or_file(self, dir_path: str, list_dir: bool = True, list_file: bool = True) -> Iterator[str]:
        """Names of what a folder holds, not recursively."""
        store, path = self._open(dir_path)
        for info in store.ls(path, detail=True):
            name = posixpath.basename(info['name'].rstrip('/'))
            if name and (list_dir if info['type'] == 'directory' else list_file):
                yield name

    def files_below(self, dir_path: str) -> dict[str, FileFacts]:
        """All files below a folder by relative name, in few requests."""
        store, path = self._open(dir_path)
        found = store.find(path, detail=True)
        start = len(path.rstrip('/')) + 1
        return {name[start:]: file_facts(info) for name, info in found.items() if len(name) > start}

    def look_at(self, filepath: str) -> FileFacts:
        """Facts of one file."""
        return file_facts(self._info(filepath))

    def copyfile_to_local(self, src: str, dst: str | os.PathLike) -> None:
        """Download a file, in parts."""
        store, path = self._open(src)
        store.get_file(path, os.fspath(dst))


def file_facts(info: dict[str, Any]) -> FileFacts:
    """From what fsspec tells of a file: its ETag, if it has one, or else its times."""
    known = (
        info.get(key) for key in ('ETag', 'etag', 'md5', 'LastModified', 'last_modified', 'mtime', 'created')
    )
    tag = next((str(value) for value in known if value), '')
    return int(info.get('size') or 0), int.from_bytes(
        hashlib.blake2b(tag.encode(), digest_size=7).digest(), 'big'
    )
