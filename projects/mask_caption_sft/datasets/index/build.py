"""Writes a mask table in parallel; goes on after an interruption, and reads again only what has changed."""

import json
import multiprocessing
import os
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..parallel import in_order
from .listing import Listing
from .place import PARTS, TABLE
from .schema import FORMAT_VERSION, TablePart
from .selection import record_starts
from .source import TableSource

_ROWS_PER_GROUP = 1 << 16


def build_table(source: TableSource, folder: str | Path, num_workers: int | None = None) -> None:
    """Bring the table in ``folder`` up to date.

    A part is named after the files it was read from, their sizes and times: parts that are there are kept,
    after an interruption and after some of the files have changed. ``table.json`` is replaced last.
    Whoever calls holds the folder's lock.

    Args:
        source: What to read.
        folder: Folder of the table.
        num_workers: Worker processes; by default one per processor, up to 16.

    Raises:
        ValueError, OSError: As the source raises them for a faulty file.
    """
    folder = Path(folder)
    parts = folder / PARTS
    listing = source.list_files()
    tasks = _tasks(source, listing)
    build_parts(source, folder, list(tasks.items()), num_workers)
    facts = [json.loads(pq.read_schema(parts / name).metadata[b'facts']) for name in tasks]
    info = {
        'version': FORMAT_VERSION,
        'format': source.KIND,
        'arguments': source.arguments(),
        'parts': {name: (parts / name).stat().st_size for name in tasks},
        'records': sum(fact['records'] for fact in facts),
        'masks': sum(fact['masks'] for fact in facts),
        'faults': [fault for fact in facts for fault in fact['faults']],
        'listing': listing.remembered(),
    }
    temporary = folder / f'.{TABLE}.{os.getpid()}.tmp'
    temporary.write_text(json.dumps(info))
    temporary.replace(folder / TABLE)
    for path in parts.iterdir():
        if path.name not in tasks:
            path.unlink(missing_ok=True)


def part_tasks(source: TableSource) -> list[tuple[str, list[str]]]:
    """The parts of a table, by name, and the files that each is read from."""
    return list(_tasks(source, source.list_files()).items())


def _tasks(source: TableSource, listing: Listing) -> dict[str, list[str]]:
    tasks = {}
    for rows in source.tasks(listing):
        files = listing.rows(rows)
        tasks[f'{source.task_key(files)}.parquet'] = files.names
    return tasks


def build_parts(
    source: TableSource, folder: Path, tasks: list[tuple[str, list[str]]], num_workers: int | None = None
) -> None:
    """Write those of some parts that are not there; several processes may write different ones."""
    parts = folder / PARTS
    parts.mkdir(parents=True, exist_ok=True)
    todo = missing_parts(folder, tasks)
    _run(partial(_write_part, source, str(parts)), todo, num_workers, f'{source.KIND}: {source.root}')


def missing_parts(folder: Path, tasks: list[tuple[str, list[str]]]) -> list[tuple[str, list[str]]]:
    """Those parts that are not there, or were not written to their end."""
    return [(name, names) for name, names in tasks if not is_whole(folder / PARTS / name)]


def is_whole(path: Path) -> bool:
    """Whether a part is there and was written to its end."""
    try:
        pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def _run(make_part, todo: list, num_workers: int | None, title: str) -> None:
    # A worker of a data loader may not have children; a small table is made sooner without any.
    alone = len(todo) <= 1 or multiprocessing.current_process().daemon
    count = 1 if alone else num_workers or min(16, len(os.sched_getaffinity(0)))
    bar = tqdm(total=len(todo), desc=title, mininterval=1, disable=len(todo) <= 1)
    made = map(make_part, todo) if count == 1 else in_order(make_part, todo, min(count, len(todo)))
    for _ in made:
        bar.update()
    bar.close()


def _write_part(source: TableSource, parts: str, task: tuple[str, list[str]]) -> None:
    name, names = task
    part = source.read(names)
    path = Path(parts) / name
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}.tmp')
    pq.write_table(
        part.rows.replace_schema_metadata({'facts': json.dumps(_facts(part))}),
        temporary,
        row_group_size=_ROWS_PER_GROUP,
        compression='zstd',
        write_page_checksum=True,
    )
    temporary.replace(path)


def _facts(part: TablePart) -> dict:
    return {'records': len(record_starts(part.rows)), 'masks': len(part.rows), 'faults': part.faults}
