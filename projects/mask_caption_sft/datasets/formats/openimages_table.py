"""Reads OpenImages' annotation table into the mask table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from ..index.schema import SCHEMA, TablePart
from ..index.source import NamedFiles

_FEW_ROWS, _MAX_FAULTY_RATIO = 10, 0.05
_NAMES = ['MaskPath', 'ImageID', 'LabelName']
_NUMBERS = ['BoxXMin', 'BoxXMax', 'BoxYMin', 'BoxYMax', 'PredictedIoU']
_IS_NUMBER = r'^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$'


@dataclass(frozen=True)
class OpenImagesTable(NamedFiles):
    """The annotation table and the class names, in this order; ``reference`` is a mask's file name.

    The rows of an image may be anywhere in the table: each carries its image and its mask.
    """

    KIND = 'openimages'

    def arguments(self) -> dict[str, Any]:
        return {'ann_file': self.files[0], 'class_file': self.files[1]}

    def read(self, names: Sequence[str]) -> TablePart:
        """All masks, by image.

        Raises:
            ValueError: Too many rows are faulty, or a column is missing.
        """
        ann_file, class_file = names
        classes = read_class_names(self.path(class_file))
        table, lines, short = read_rows(self.path(ann_file))
        faults = short + _faulty_rows(table, lines, set(classes), class_file)
        table = table.filter(pa.array(~np.isin(lines, [line for line, _ in faults])))
        _check_share(self.path(ann_file), faults, len(table))
        order = pc.sort_indices(table, sort_keys=[('ImageID', 'ascending')])  # a stable sort
        rows = _columns(table.take(order), ann_file, classes)
        reasons = [
            (f'{ann_file}#line {line}', f'{self.path(ann_file)}, line {line}: {reason}')
            for line, reason in sorted(faults)
        ]
        return TablePart(rows, reasons)


def read_rows(path: str | Path) -> tuple[pa.Table, np.ndarray, list[tuple[int, str]]]:
    """The needed columns as text, the line of each row, and ``(line, reason)`` for rows of another length.

    A byte-order mark and bytes that are not UTF-8 do no harm. The clicks, most of the file, are not kept.

    Raises:
        ValueError: A column is missing.
    """
    try:
        return _parse(str(path))
    except KeyError as error:
        raise ValueError(
            f'{path} lacks a column ({error}). Needed: {", ".join(_NAMES + _NUMBERS)}.'
        ) from error
    except pa.ArrowInvalid as error:
        if 'UTF8' not in str(error):
            raise ValueError(f'{path} cannot be read as a table: {error}') from error
        return _parse(io.BytesIO(Path(path).read_bytes().decode(errors='replace').encode()))


def _parse(file: Any) -> tuple[pa.Table, np.ndarray, list[tuple[int, str]]]:
    short: list[tuple[int, str]] = []

    def note(row: pa_csv.InvalidRow) -> str:
        short.append((row.number, f'it has {row.actual_columns} values, the header {row.expected_columns}'))
        return 'skip'

    table = pa_csv.read_csv(
        file,
        pa_csv.ReadOptions(use_threads=False),
        pa_csv.ParseOptions(invalid_row_handler=note, ignore_empty_lines=False),
        pa_csv.ConvertOptions(
            include_columns=_NAMES + _NUMBERS,
            column_types=dict.fromkeys(_NAMES + _NUMBERS, pa.string()),
            strings_can_be_null=False,
        ),
    )
    lines = np.setdiff1d(np.arange(2, 2 + len(table) + len(short)), [line for line, _ in short])
    blank = _all(pc.equal(table[name], '') for name in table.column_names)
    return table.filter(pa.array(~blank)), lines[~blank], short


def _all(masks) -> np.ndarray:
    return np.logical_and.reduce([mask.to_numpy() for mask in masks])


def _faulty_rows(
    table: pa.Table, lines: np.ndarray, labels: set[str], class_file: str
) -> list[tuple[int, str]]:
    named = _all(pc.not_equal(table[name], '') for name in _NAMES)
    known = pc.is_in(table['LabelName'], pa.array(sorted(labels), pa.string())).to_numpy()
    numeric = _all(pc.match_substring_regex(table[name], _IS_NUMBER) for name in _NUMBERS)
    faults = []
    for row in np.flatnonzero(~(named & known & numeric)).tolist():
        if not named[row]:
            reason = 'MaskPath, ImageID or LabelName is missing.'
        elif not known[row]:
            reason = (
                f'label {table["LabelName"][row].as_py()!r} is not in {class_file}. '
                'Use the class descriptions of the same release.'
            )
        else:
            values = ', '.join(f'{name}={table[name][row].as_py()!r}' for name in _NUMBERS)
            reason = f'one of these is not a number: {values}.'
        faults.append((int(lines[row]), reason))
    return faults


def _check_share(path: Path, faults: list[tuple[int, str]], num_good: int) -> None:
    if faults and (not num_good or len(faults) > max(_FEW_ROWS, _MAX_FAULTY_RATIO * num_good)):
        line, reason = min(faults)
        raise ValueError(
            f'{path}: {len(faults)} of {num_good + len(faults)} rows are faulty; the first: line {line}: '
            f'{reason} Use the table and the class descriptions of the same release.'
        )


def _columns(table: pa.Table, ann_file: str, classes: dict[str, str]) -> pa.Table:
    numbers = [pc.cast(pc.utf8_trim_whitespace(table[name]), pa.float64()) for name in _NUMBERS]
    columns = box_columns(*(column.to_numpy() for column in numbers))
    label = table['LabelName'].combine_chunks()
    texts = pa.array([[classes[name]] for name in label.unique().to_pylist()], pa.list_(pa.string()))
    known = {
        'record': pc.binary_join_element_wise(ann_file, table['ImageID'], '#'),
        'image': table['ImageID'],
        'source': pa.repeat(ann_file, len(table)),
        'reference': table['MaskPath'],
        'label': label,
        'texts': texts.take(label.dictionary_encode().indices),
        'box': pa.FixedSizeListArray.from_arrays(pa.array(columns.pop('box').ravel(), pa.float32()), 4),
        **{name: pa.array(values) for name, values in columns.items()},
    }
    return pa.table(
        [known.get(field.name, pa.nulls(len(table), field.type)) for field in SCHEMA], schema=SCHEMA
    )


def box_columns(
    left: np.ndarray, right: np.ndarray, top: np.ndarray, bottom: np.ndarray, predicted_iou: np.ndarray
) -> dict[str, np.ndarray]:
    """What boxes tell of their masks, in shares of the image's sides; areas are those of the boxes."""
    return {
        'area_ratio': ((right - left) * (bottom - top)).astype(np.float32),
        'box': np.stack([left, top, right, bottom], axis=1).astype(np.float32),
        'predicted_iou': predicted_iou.astype(np.float32),
        'stability_score': np.ones(len(left), np.float32),
        'touches_border': (left <= 0) | (top <= 0) | (right >= 1) | (bottom >= 1),
    }


def read_class_names(path: str | Path) -> dict[str, str]:
    """Label -> name of an OpenImages class table, with or without header or byte-order mark."""
    with Path(path).open(newline='', encoding='utf-8-sig', errors='replace') as file:
        rows = [row for row in csv.reader(file) if len(row) >= 2]
    return {label: name for label, name, *_ in rows if label != 'LabelName'}
