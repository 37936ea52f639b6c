"""Writes a packed dataset: LMDB, a manifest, and columns that are read at the start instead of records."""

import hashlib
import itertools
import json
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from tqdm import tqdm

from ..parallel import in_order
from ..skip_list import read_skip_list, write_skip_list
from .format import (
    DATABASE,
    FORMAT_VERSION,
    MANIFEST,
    PackedRecord,
    area_ratios,
    encode_record,
    record_checksum,
)
from .name_column import NameColumn, write_names

_KEY = struct.Struct('>Q')
_STATE, _BROKEN, _FACTS = b'state', b'broken-', b'facts-'
_MAP_BYTES = 1 << 42  # an upper bound on address space, not on disk space
_TASKS_PER_COMMIT = 64

#: What a task returns: records, and (id, reason) of what could not be read.
TaskResult = tuple[list[PackedRecord], list[tuple[str, str]]]


def record_key(number: int) -> bytes:
    """Key of a record: its number, so that no list of keys is needed."""
    return _KEY.pack(number)


def write_pack(
    folder: str | Path,
    tasks: Sequence[Any],
    run_task: Callable[[Any], TaskResult],
    source: dict[str, Any],
    num_workers: int = 1,
    append: bool = False,
) -> dict[str, Any]:
    """Run the tasks in parallel and write their records in the tasks' order.

    After an interruption, a second call continues after the last task that was stored. The
    result does not depend on the number of workers.

    Args:
        folder: Folder of the pack.
        tasks: Arguments for ``run_task``, small and picklable.
        run_task: A module-level function (or a partial of one).
        source: For the manifest: dataset, root, options.
        num_workers: Number of worker processes.
        append: If the folder holds a pack that is complete, add to it. It cannot be read until that is done;
            an interrupted addition goes on with the next call.

    Returns:
        The manifest.

    Raises:
        ValueError: The folder holds another pack, or the beginning of one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made_from = hashlib.sha256(repr((list(tasks), sorted(source.items()))).encode()).hexdigest()
    with lmdb.open(str(folder), map_size=_MAP_BYTES, subdir=True) as env:
        state = _read_state(env, made_from, folder, append)
        if source not in state['sources']:
            state['sources'].append(source)
        todo = tasks[state['tasks'] :]
        if todo:
            _run_all(env, state, todo, run_task, num_workers)
        manifest = _write_columns(env, folder, state)
    first, *further = state['sources']
    manifest |= {'version': FORMAT_VERSION, 'source': first, 'appended': further}
    manifest['bytes'] = (folder / DATABASE).stat().st_size
    temporary = folder / f'{MANIFEST}.tmp'
    temporary.write_text(json.dumps(manifest, indent=1))
    temporary.replace(folder / MANIFEST)
    return manifest


def _read_state(env: lmdb.Environment, made_from: str, folder: Path, append: bool) -> dict[str, Any]:
    with env.begin() as transaction:
        stored = transaction.get(_STATE)
    state = {'made_from': made_from, 'tasks': 0, 'records': 0, 'broken': 0, 'sources': []}
    if not stored:
        return state
    state |= json.loads(stored)
    manifest = folder / MANIFEST
    if state['made_from'] != made_from and append and manifest.is_file():
        state |= {'made_from': made_from, 'tasks': 0}
        # A pack of an earlier version did not write its source here.
        state['sources'] = state['sources'] or [json.loads(manifest.read_text())['source']]
        with env.begin(write=True) as transaction:
            transaction.put(_STATE, json.dumps(state).encode())
        manifest.unlink()
    if state['made_from'] != made_from:
        mend = (
            'Finish it first: call again as it was begun.'
            if append
            else ('Remove it, pack elsewhere, or add to it with --append.')
        )
        raise ValueError(f'{folder} holds a pack of another source or with other options. {mend}')
    return state


def names_in_pack(folder: str | Path) -> set[str]:
    """Names of the records, and of what was broken, in a pack when it was last complete; of none, empty."""
    folder = Path(folder)
    if not (folder / 'names_ends.npy').is_file():
        return set()
    return {*NameColumn(folder, 'names'), *read_skip_list(folder / 'not_packed.jsonl')}


def _run_all(
    env: lmdb.Environment, state: dict[str, Any], todo: Sequence[Any],
    run_task: Callable[[Any], TaskResult], num_workers: int,
) -> None:  # fmt: skip
    bar = tqdm(total=len(todo), mininterval=1)
    for results in _batches(todo, run_task, num_workers):
        with env.begin(write=True) as transaction:
            for records, broken in results:
                for record in records:
                    key, data = record_key(state['records']), encode_record(record)
                    transaction.put(key, data)
                    transaction.put(_FACTS + key, json.dumps(_facts_of(record, data)).encode())
                    state['records'] += 1
                for pair in broken:
                    transaction.put(_BROKEN + record_key(state['broken']), json.dumps(pair).encode())
                    state['broken'] += 1
                state['tasks'] += 1
            transaction.put(_STATE, json.dumps(state).encode())
        bar.update(len(results))
    bar.close()


def _batches(
    todo: Sequence[Any], run_task: Callable[[Any], TaskResult], num_workers: int
) -> Iterator[list[TaskResult]]:
    results = in_order(run_task, todo, num_workers)
    while batch := list(itertools.islice(results, _TASKS_PER_COMMIT)):
        yield batch


def _facts_of(record: PackedRecord, data: bytes) -> dict[str, Any]:
    """What the columns and the manifest need from a record, so that no record is read back."""
    areas = [area_ratios(view) for view in record.views]
    return {
        'name': record.sample_id,
        'checksum': record_checksum(data),
        # A region counts with the view in which less of it is seen, a record with its largest region.
        'area_ratio': float(np.min(areas, axis=0).max(initial=0.0)),
        'frame_distance': record.frame_distance,
        'views': len(record.views),
        'masks': len(record.texts),
        'texts': sum(map(len, record.texts)),
    }


def _write_columns(env: lmdb.Environment, folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Write names, areas and distances of all records; returns counts, and a checksum of their checksums."""
    count = state['records']
    area, distance = np.zeros(count, np.float32), np.zeros(count, np.int32)
    checksum, statistics, names = 0, Counter({'views': 0, 'masks': 0, 'texts': 0}), []
    with env.begin() as transaction:
        for number in range(count):
            facts = json.loads(transaction.get(_FACTS + record_key(number), b''))
            names.append(facts['name'])
            area[number], distance[number] = facts['area_ratio'], facts['frame_distance']
            checksum = zlib.crc32(facts['checksum'].to_bytes(4, 'little'), checksum)
            statistics.update({name: facts[name] for name in statistics})
        stored = [transaction.get(_BROKEN + record_key(i), b'') for i in range(state['broken'])]
        broken = [tuple(json.loads(pair)) for pair in stored]
    write_names(folder, 'names', names)
    np.save(folder / 'area_ratio.npy', area)
    np.save(folder / 'frame_distance.npy', distance)
    write_skip_list(folder / 'not_packed.jsonl', broken)
    return {'records': count, 'broken': state['broken'], **statistics, 'checksum': checksum}
