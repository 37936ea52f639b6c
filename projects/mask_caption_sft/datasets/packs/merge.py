"""One pack from those that several machines have written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

from ..shards import Shard, all_shards, check_all_there
from ..skip_list import read_skip_list_reasons
from .format import MANIFEST, decode_record, read_manifest
from .read import open_environment
from .write import TaskResult, record_key, write_pack

#: Folder of the shards' packs, below the whole one.
_SHARDS = 'shards'
#: The row that stands for what a shard could not read.
_BROKEN = -1


def shard_folder(folder: str | Path, shard: Shard) -> Path:
    """Where a shard writes its pack."""
    return Path(folder) / _SHARDS / shard.name


def merge_packs(folder: str | Path, count: int, num_workers: int = 1) -> dict[str, Any]:
    """Put the shards' packs together: the pack that would have been written without shards.

    An interrupted merge goes on. The shards stay; they can be removed afterwards.

    Args:
        folder: Folder of the pack.
        count: Number of shards.
        num_workers: Number of worker processes.

    Returns:
        The manifest.

    Raises:
        ValueError: A shard is missing or not finished, or was made from something else than the first.
    """
    shards = all_shards(count)
    folders = [shard_folder(folder, shard) for shard in shards]
    check_all_there(shards, lambda shard: (shard_folder(folder, shard) / MANIFEST).is_file(), str(folder))
    manifests = [read_manifest(path) for path in folders]
    for path, manifest in zip(folders, manifests):
        if manifest['source'] != manifests[0]['source']:
            raise ValueError(
                f'{path} was made with {json.dumps(manifest["source"])}, {folders[0].name} with '
                f'{json.dumps(manifests[0]["source"])}. Remove it, and write that shard again.'
            )
    tasks = [
        (number, row)
        for number, manifest in enumerate(manifests)
        for row in (*range(manifest['records']), _BROKEN)
    ]
    copy = CopyRecord(tuple(map(str, folders)))
    return write_pack(folder, tasks, copy, manifests[0]['source'], num_workers)


@dataclass(frozen=True)
class CopyRecord:
    """Reads a record of one of the shards."""

    folders: tuple[str, ...]

    def __call__(self, task: tuple[int, int]) -> TaskResult:
        """The record, as it is; or what its shard could not read.

        Raises:
            ValueError, OSError: The shard's pack is damaged.
        """
        folder, row = self.folders[task[0]], task[1]
        if row == _BROKEN:
            return [], read_skip_list_reasons(Path(folder) / 'not_packed.jsonl')
        try:
            with open_environment(folder).begin(buffers=True) as transaction:
                return [decode_record(bytes(transaction.get(record_key(row), b'')))], []
        except (lmdb.Error, ValueError) as error:
            raise ValueError(
                f'record {row} of {folder} cannot be read ({error}); write that shard again'
            ) from error
