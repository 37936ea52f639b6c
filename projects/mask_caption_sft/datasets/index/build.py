"""Builds a mask index in parallel parts; resumable, and put in place only when it is complete."""

import hashlib
import itertools
import json
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..parallel import call_task, set_task
from .mask_index import COLUMNS, FORMAT_VERSION
from .name_column import write_names

_DEFAULTS = {'predicted_iou': 1.0, 'stability_score': 1.0, 'touches_border': False, 'label': -1}


@dataclass
class IndexPart:
    """The masks of some images.

    Attributes:
        names: Names of the images; if one occurs again in a later part, its masks are brought together.
        counts: Number of masks of each image.
        columns: ``COLUMNS`` by name, one value per mask.
        broken: What could not be read: name -> reason.
    """

    names: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    columns: dict[str, list] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    broken: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, **values: Any) -> None:
        """Add one mask; columns that are not given get a value that passes every filter."""
        if not self.names or self.names[-1] != name:
            self.names.append(name)
            self.counts.append(0)
        self.counts[-1] += 1
        for column in COLUMNS:
            self.columns[column].append(values[column] if column in values else _DEFAULTS[column])


def build_index(
    folder: str | Path,
    tasks: Sequence[Any],
    make_part: Callable[[Any], IndexPart],
    describe: Callable[[], dict[str, Any]],
    num_workers: int = 1,
) -> None:
    """Run ``make_part`` on every task and write the index.

    Parts are kept in ``{folder}.parts`` until all are done; after an interruption, a second
    call makes only the missing ones.

    Args:
        folder: Folder of the index; replaced if it exists.
        tasks: Arguments for ``make_part``, small and picklable, in order.
        make_part: A module-level function.
        describe: Returns further entries for ``index.json``; called once the columns are in place.
        num_workers: Number of worker processes.
    """
    folder = Path(folder)
    parts = folder.with_name(f'{folder.name}.parts')
    key = hashlib.sha256(repr(list(tasks)).encode()).hexdigest()
    if not (parts / key).exists():
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True)
        (parts / key).touch()
    todo = [i for i in range(len(tasks)) if not _part_path(parts, i).exists()]
    run = partial(_run_task, parts, make_part)
    with multiprocessing.Pool(num_workers, set_task, (run,)) as pool:
        results = pool.imap_unordered(call_task, [(i, tasks[i]) for i in todo])
        for _ in tqdm(results, total=len(todo), mininterval=1):
            pass
    merged = folder.with_name(f'{folder.name}.new')
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    info = _merge(merged, [_part_path(parts, i) for i in range(len(tasks))])
    shutil.rmtree(folder, ignore_errors=True)
    merged.rename(folder)
    shutil.rmtree(parts)
    # Written last: a folder without this file does not count as an index.
    info = {'version': FORMAT_VERSION, 'made': key, **info, **describe()}
    temporary = folder / 'index.json.tmp'
    temporary.write_text(json.dumps(info, indent=1))
    temporary.replace(folder / 'index.json')


def _part_path(parts: Path, number: int) -> Path:
    return parts / f'part-{number:06d}.npz'


def _run_task(parts: Path, make_part: Callable[[Any], IndexPart], numbered: tuple[int, Any]) -> None:
    number, task = numbered
    part = make_part(task)
    path = _part_path(parts, number)
    temporary = path.with_suffix('.tmp')
    with temporary.open('wb') as file:
        arrays: dict[str, Any] = {
            name: np.array(values, COLUMNS[name]) for name, values in part.columns.items()
        }
        np.savez(
            file,
            names=np.array(part.names, dtype=np.str_),
            counts=np.array(part.counts, dtype=np.int64),
            broken=np.array(json.dumps(part.broken)),
            **arrays,
        )
    temporary.replace(path)


def _merge(folder: Path, paths: list[Path]) -> dict[str, Any]:
    """Join the columns of all parts, with the masks of an image side by side; returns counts and faults."""
    names, counts, broken = [], [], {}
    for path in paths:
        with np.load(path) as part:
            names += part['names'].tolist()
            counts.append(part['counts'])
            broken.update(json.loads(str(part['broken'])))
    count = np.concatenate([np.zeros(0, np.int64), *counts])
    order = None if _is_sorted(names) else _grouping(names, count)
    if order is not None:
        # Images that occur in several places: this happens only with tables of rows, which are small.
        unique, image = np.unique(names, return_inverse=True)
        names, count = unique.tolist(), np.bincount(image, count).astype(np.int64)
    write_names(folder, 'names', names)
    np.save(folder / 'ends.npy', np.cumsum(count))
    for column, kind in COLUMNS.items():
        _merge_column(folder / f'{column}.npy', column, kind, paths, int(count.sum()), order)
    return {'images': len(names), 'masks': int(count.sum()), 'broken': broken}


def _is_sorted(names: list[str]) -> bool:
    return all(first < second for first, second in itertools.pairwise(names))


def _grouping(names: list[str], count: np.ndarray) -> np.ndarray:
    _, image = np.unique(names, return_inverse=True)
    return np.argsort(np.repeat(image, count), kind='stable')


def _merge_column(
    target: Path, column: str, kind: type, paths: list[Path], total: int, order: np.ndarray | None
) -> None:
    """Join one column part by part, holding one part in memory; one that must be sorted is held whole."""
    values = np.lib.format.open_memmap(target, 'w+', kind, (total,))
    start = 0
    for path in paths:
        with np.load(path) as part:
            piece = part[column]
        values[start : start + len(piece)] = piece
        start += len(piece)
    if order is not None:
        values[:] = values[order]
    values.flush()
