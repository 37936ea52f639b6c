"""The records of a table that may be drawn, each with the masks that pass, mapped into memory."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .mask_filter import MaskFilter
from .schema import FILTER_COLUMNS, RECORD_COLUMNS, SCHEMA

_RECORDS_PER_BATCH = 1024


class Selection(Sequence[dict[str, Any]]):
    """U records, in order, read from an Arrow file as they are asked for.

    The file is mapped: it is in memory once, however many processes read it, and only in so far as
    it is read.

    Args:
        path: Where :func:`write_selection` put it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
        full, last = self._reader.num_record_batches - 1, 0
        if full >= 0:
            last = self._reader.get_batch(full).num_rows
        self._length = max(0, full) * _RECORDS_PER_BATCH + last

    def __reduce__(self):
        return Selection, (self.path,)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position):
        """``{column: value}`` of a record, with a list in the columns that have a value per mask."""
        batch, row = divmod(range(self._length)[position], _RECORDS_PER_BATCH)
        return self._reader.get_batch(batch).slice(row, 1).to_pylist()[0]

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all records."""
        batches = (self._reader.get_batch(i) for i in range(self._reader.num_record_batches))
        field = self._reader.schema.field(name)
        return pa.chunked_array([batch.column(name) for batch in batches], type=field.type)


def write_selection(
    path: str | Path,
    parts: Sequence[Path],
    columns: Sequence[str],
    mask_filter: MaskFilter | None,
    skipped: set[str],
    limit: int | None,
) -> None:
    """Write those records of a table that have a mask which passes; the file appears when it is complete.

    Args:
        path: Of the file.
        parts: Of the table, in order. They are read one at a time, no further than the limit.
        columns: The columns that records need, beside their names.
        mask_filter: Which masks pass; None lets all pass.
        skipped: Names of records to leave out.
        limit: The largest number of records.
    """
    path = Path(path)
    schema = pa.schema([_field(name) for name in ('record', *columns)])
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}.tmp')
    with pa.OSFile(str(temporary), 'wb') as file, pa.ipc.new_file(file, schema) as writer:
        for batch in _batches(_grouped_parts(parts, schema, columns, mask_filter, skipped), limit):
            writer.write_batch(batch)
    temporary.replace(path)


def _field(name: str) -> pa.Field:
    field = SCHEMA.field(name)
    return field if name in RECORD_COLUMNS else pa.field(name, pa.list_(field.type))


def _grouped_parts(parts, schema, columns, mask_filter, skipped) -> Iterator[pa.Table]:
    wanted = list(dict.fromkeys(['record', *columns, *(FILTER_COLUMNS if mask_filter else ())]))
    left_out = pa.array(sorted(skipped), pa.string())
    for path in parts:
        rows = _read_part(path, wanted)
        if mask_filter is not None:
            judged = {name: rows[name].to_numpy() for name in FILTER_COLUMNS}
            rows = rows.filter(pa.array(mask_filter.passes(judged)))
        if len(left_out):
            rows = rows.filter(pc.invert(pc.is_in(rows['record'], left_out)))
        if len(rows):
            yield _grouped(rows, schema)


def _read_part(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(
            path, columns=columns, use_threads=False, memory_map=True, page_checksum_verification=True
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(
            f'{path} is damaged ({error}). Remove {path.parent.parent}; the table is then made anew.'
        ) from error


def _grouped(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """One row per record from one row per mask."""
    starts = record_starts(rows)
    ends = pa.array(np.append(starts, len(rows)), pa.int32())
    arrays = []
    for field in schema:
        values = rows[field.name].combine_chunks()
        if field.name in RECORD_COLUMNS:
            arrays.append(values.take(pa.array(starts)))
        else:
            arrays.append(pa.ListArray.from_arrays(ends, values))
    return pa.Table.from_arrays(arrays, schema=schema)


def record_starts(rows: pa.Table) -> np.ndarray:
    """The first row of each record."""
    names = rows['record'].combine_chunks()
    changed = pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([[len(names) > 0], changed]).astype(bool))


def _batches(tables: Iterator[pa.Table], limit: int | None) -> Iterator[pa.RecordBatch]:
    """Batches of one size, but for the last: so that a record is found by its number."""
    waiting: list[pa.Table] = []
    left = limit
    for table in tables:
        table = table if left is None else table[:left]
        left = None if left is None else left - len(table)
        waiting.append(table)
        count = sum(map(len, waiting))
        if count >= _RECORDS_PER_BATCH or left == 0:
            joined = pa.concat_tables(waiting)
            full = len(joined) // _RECORDS_PER_BATCH * _RECORDS_PER_BATCH
            yield from _cut(joined[:full])
            waiting = [joined[full:]]
        if left == 0:
            break
    if waiting:
        yield from _cut(pa.concat_tables(waiting))


def _cut(table: pa.Table) -> list[pa.RecordBatch]:
    return table.combine_chunks().to_batches(max_chunksize=_RECORDS_PER_BATCH) if len(table) else []
