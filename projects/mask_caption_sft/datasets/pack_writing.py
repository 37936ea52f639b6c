"""Writes a packed dataset: LMDB, a manifest, and columns that a start reads instead of records."""

import hashlib
import json
import multiprocessing
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from tqdm import tqdm

from .name_column import write_names
from .pack_format import (
    DATABASE,
    FORMAT_VERSION,
    MANIFEST,
    PackedRecord,
    area_ratios,
    decode_record,
    encode_record,
)
from .parallel import call_task, set_task
from .skip_list import write_skip_list

_KEY = struct.Struct('>Q')
_STATE, _BROKEN = b'state', b'broken-'
_MAP_BYTES = 1 << 42  # an upper bound of address space, not of the disk
_TASKS_PER_COMMIT = 64

#: What a task gives: records, and what could not be read as (id, reason).
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
) -> dict[str, Any]:
    """Run the tasks in parallel and write their records in the tasks' order.

    A second call after an interruption goes on behind the last task that was stored. The
    result does not depend on the number of workers.

    Args:
        folder: Of the pack.
        tasks: Small and picklable.
        run_task: A module-level function (or a partial of one).
        source: For the manifest: dataset, root, options.
        num_workers: Processes.

    Returns:
        The manifest.

    Raises:
        ValueError: The folder holds the beginning of another pack.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made_from = hashlib.sha256(repr((list(tasks), sorted(source.items()))).encode()).hexdigest()
    with lmdb.open(str(folder), map_size=_MAP_BYTES, subdir=True) as env:
        state = _read_state(env, made_from, folder)
        todo = tasks[state['tasks'] :]
        if todo:
            _run_all(env, state, todo, run_task, num_workers)
        manifest = _write_columns(env, folder, state)
    manifest |= {'version': FORMAT_VERSION, 'source': source, 'bytes': (folder / DATABASE).stat().st_size}
    temporary = folder / f'{MANIFEST}.tmp'
    temporary.write_text(json.dumps(manifest, indent=1))
    temporary.replace(folder / MANIFEST)
    return manifest


def _read_state(env: lmdb.Environment, made_from: str, folder: Path) -> dict[str, Any]:
    with env.begin() as transaction:
        stored = transaction.get(_STATE)
    state = json.loads(stored) if stored else {'made_from': made_from, 'tasks': 0, 'records': 0, 'broken': 0}
    if state['made_from'] != made_from:
        raise ValueError(
            f'{folder} holds a pack of another source or other options. Remove it, or pack elsewhere.'
        )
    return state


def _run_all(
    env: lmdb.Environment, state: dict[str, Any], todo: Sequence[Any],
    run_task: Callable[[Any], TaskResult], num_workers: int,
) -> None:  # fmt: skip
    bar = tqdm(total=len(todo), mininterval=1)
    for results in _batches(todo, run_task, num_workers):
        with env.begin(write=True) as transaction:
            for records, broken in results:
                for record in records:
                    transaction.put(record_key(state['records']), encode_record(record))
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
    with multiprocessing.Pool(num_workers, set_task, (run_task,)) as pool:
        results = pool.imap(call_task, todo)
        for start in range(0, len(todo), _TASKS_PER_COMMIT):
            yield [next(results) for _ in todo[start : start + _TASKS_PER_COMMIT]]


def _write_columns(env: lmdb.Environment, folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Read every record back once: names, areas, distances, counts, and a checksum."""
    count = state['records']
    least, distance = np.zeros(count, np.float32), np.full(count, -1, np.int32)
    digest, statistics, names = hashlib.sha256(), Counter[str](), []
    with env.begin() as transaction:
        for number in range(count):
            data = transaction.get(record_key(number), b'')
            digest.update(data)
            record = decode_record(data)
            names.append(record.sample_id)
            areas = [area_ratios(view) for view in record.views]
            # A region counts with the view in which less of it is seen; a record with its largest.
            least[number] = np.min(areas, axis=0).max(initial=0.0)
            distance[number] = record.frame_distance
            statistics.update(views=len(record.views), masks=len(record.texts))
            statistics.update(texts=sum(map(len, record.texts)))
        stored = [transaction.get(_BROKEN + record_key(i), b'') for i in range(state['broken'])]
        broken = [tuple(json.loads(pair)) for pair in stored]
    write_names(folder, 'names', names)
    np.save(folder / 'area_ratio.npy', least)
    np.save(folder / 'frame_distance.npy', distance)
    write_skip_list(folder / 'not_packed.jsonl', broken)
    return {'records': count, 'broken': state['broken'], **statistics, 'sha256': digest.hexdigest()}
