"""Facts of records in files, so that several machines can read a dataset together."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ..datasets.base import RegionDataset
from ..datasets.shards import Shard, all_shards, check_all_there
from .dataset_report import RecordFacts, inspect


def facts_path(folder: str | Path, name: str, shard: Shard) -> Path:
    """Where the facts of a dataset's shard are."""
    return Path(folder) / 'facts' / f'{name}.{shard.name}.jsonl'


def write_facts(
    path: Path, dataset: RegionDataset, rows: Sequence[int], total: int, num_workers: int = 1
) -> None:
    """Read these records and write what was found, a line each; the file has its name when it is whole.

    After an interruption, records that were read are not read again.

    Args:
        path: See :func:`facts_path`.
        dataset: Whose records are read.
        rows: Their positions.
        total: How many records all shards read.
        num_workers: Number of worker processes.
    """
    head = {'records': len(dataset), 'read': total, 'names': dataset.names_digest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and json.loads(path.open().readline()) == head:
        return
    partial = path.with_suffix('.part')
    done = _lines_of(partial, head)
    with partial.open('w') as file:
        file.writelines([json.dumps(head) + '\n', *done])
        file.flush()
        for facts in inspect(dataset, rows[len(done) :], num_workers):
            file.write(json.dumps(asdict(facts)) + '\n')
            file.flush()
    partial.replace(path)


def _lines_of(partial: Path, head: dict) -> list[str]:
    """Whole lines of an interrupted file, without its head; none if it is of other data."""
    if not partial.is_file():
        return []
    first, *lines = partial.read_text().splitlines(keepends=True) or ['']
    if not first.endswith('\n') or json.loads(first) != head:
        return []
    return [line for line in lines if line.endswith('\n')]


def read_facts(folder: str | Path, name: str, count: int) -> tuple[int, Iterator[RecordFacts]]:
    """Number of records of a dataset, and the facts that all its shards found.

    Raises:
        ValueError: A shard is missing or not finished, or has read other data or another sample.
    """
    shards = all_shards(count)
    paths = [facts_path(folder, name, shard) for shard in shards]
    check_all_there(shards, lambda shard: facts_path(folder, name, shard).is_file(), name)
    heads = [json.loads(path.open().readline()) for path in paths]
    for path, head in zip(paths, heads):
        if head != heads[0]:
            raise ValueError(
                f'{path} has read other data, or another --sample, than {paths[0].name}. Remove it.'
            )
    return heads[0]['records'], (facts for path in paths for facts in _read_file(path))


def _read_file(path: Path) -> Iterator[RecordFacts]:
    with path.open() as file:
        next(file)
        for line in file:
            facts = RecordFacts(**json.loads(line))
            facts.sizes = [(height, width) for height, width in facts.sizes]
            yield facts
