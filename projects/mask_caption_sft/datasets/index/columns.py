"""The indexes of SA-1B and OpenImages: how they are made, and how a dataset opens one."""

import csv
import json
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from .build import IndexPart, build_index
from .mask_index import COLUMNS, MaskIndex, signature

#: Folder of the index, below each dataset's root.
INDEX_DIR = '.mask_index'
_FILES_PER_TASK, _BYTES_PER_TASK = 2000, 1 << 24
_BORDER_PIXELS = 1
_SAMPLED_FILES = 64


def open_index(data_root: str, index_dir: str, name: str) -> MaskIndex | None:
    """The index of a dataset, if there is one; warns if it is stale or lists broken files."""
    folder = Path(data_root) / index_dir
    if not (folder / 'index.json').exists():
        return None
    index = MaskIndex(folder)
    changes = index.changes(data_root)
    if changes:
        listed = '; '.join(changes[:5]) + (f' and {len(changes) - 5} more' if len(changes) > 5 else '')
        print_log(
            f'{name}: {folder} is stale: {listed}. Run tools/build_index.py again.',
            'current',
            logging.WARNING,
        )
    for path, reason in index.info['broken'].items():
        print_log(f'{name}: {path} is not in the index: {reason}', 'current', logging.WARNING)
    return index


def build_sa1b_index(data_root: str, num_workers: int = 1, index_dir: str = INDEX_DIR) -> MaskIndex:
    """Read every annotation file once and write the index; resumes where it was interrupted."""
    root = Path(data_root)
    names, folders = sa1b_files(root)
    tasks = [names[i : i + _FILES_PER_TASK] for i in range(0, len(names), _FILES_PER_TASK)]
    sampled = names[:: max(1, len(names) // _SAMPLED_FILES)]

    def describe() -> dict[str, Any]:
        return {'signature': signature(root, [*folders, *sampled], '.json')}

    build_index(root / index_dir, tasks, partial(_sa1b_part, str(root)), describe, num_workers)
    return MaskIndex(root / index_dir)


def sa1b_files(root: str | Path) -> tuple[list[str], list[str]]:
    """Annotation files below ``root`` and the folders that were searched, relative and sorted."""
    names, folders = [], []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [sub for sub in subfolders if not sub.startswith('.')]
        folders.append(os.path.relpath(folder, root))
        names += [os.path.relpath(os.path.join(folder, f), root) for f in files if f.endswith('.json')]
    return sorted(names), sorted(folders)


def _sa1b_part(root: str, names: Sequence[str]) -> IndexPart:
    part = IndexPart()
    for name in names:
        try:
            columns = sa1b_columns(json.loads((Path(root) / name).read_text()))
        except (OSError, ValueError, LookupError, TypeError) as error:
            part.broken[name] = f'{type(error).__name__}: {error}'
            continue
        for position in range(len(columns['position'])):
            part.add(name, **{column: columns[column][position] for column in COLUMNS})
    return part


def sa1b_columns(content: dict[str, Any]) -> dict[str, np.ndarray]:
    """Columns for one SA-1B annotation file; a mask within a pixel of the border counts as touching it."""
    height, width = content['image']['height'], content['image']['width']
    annotations = content['annotations']
    x, y, w, h = np.array([a['bbox'] for a in annotations], dtype=np.float64).reshape(-1, 4).T
    edge = _BORDER_PIXELS
    border = (x <= edge) | (y <= edge) | (x + w >= width - 1 - edge) | (y + h >= height - 1 - edge)
    return {
        'position': np.arange(len(annotations)),
        'area_ratio': np.array([a['area'] for a in annotations], np.float32) / (height * width),
        'predicted_iou': np.array([a.get('predicted_iou', 1.0) for a in annotations], np.float32),
        'stability_score': np.array([a.get('stability_score', 1.0) for a in annotations], np.float32),
        'touches_border': border,
        'label': np.full(len(annotations), -1),
    }


def build_openimages_index(
    data_root: str,
    num_workers: int = 1,
    index_dir: str = INDEX_DIR,
    ann_file: str = 'train-annotations-object-segmentation.csv',
    class_file: str = 'oidv7-class-descriptions.csv',
) -> MaskIndex:
    """Read the annotation table once and write the index; areas are those of the boxes."""
    root = Path(data_root)
    labels = sorted(read_class_names(root / class_file))
    size = (root / ann_file).stat().st_size
    tasks = [(start, min(start + _BYTES_PER_TASK, size)) for start in range(0, size, _BYTES_PER_TASK)]
    make = partial(_openimages_part, str(root / ann_file), {label: i for i, label in enumerate(labels)})

    def describe() -> dict[str, Any]:
        return {'signature': signature(root, [ann_file, class_file]), 'labels': labels}

    build_index(root / index_dir, tasks, make, describe, num_workers)
    return MaskIndex(root / index_dir)


def _openimages_part(path: str, labels: dict[str, int], span: tuple[int, int]) -> IndexPart:
    """Index the rows that begin within ``span`` bytes of the table."""
    part = IndexPart()
    with Path(path).open('rb') as file:
        header = next(csv.reader([file.readline().decode()]))
        file.seek(max(span[0] - 1, 0))
        file.readline()  # the rest of the previous row, or the header
        while (offset := file.tell()) < span[1]:
            line = file.readline()
            row = dict(zip(header, next(csv.reader([line.decode(errors='replace')]), [])))
            try:
                columns = openimages_columns([row])
                values = {name: column[0] for name, column in columns.items()}
                part.add(row['ImageID'], position=offset, label=labels[row['LabelName']], **values)
            except (ValueError, LookupError, TypeError) as error:
                part.broken[f'{Path(path).name}, byte {offset}'] = f'{type(error).__name__}: {error}'
    return part


def openimages_columns(rows: Sequence[Mapping[str, str]]) -> dict[str, np.ndarray]:
    """What a :class:`MaskFilter` judges, from rows of the table; areas are those of the boxes.

    Raises:
        ValueError, KeyError, TypeError: A row is short, or holds text where numbers belong.
    """
    boxes = [[float(row[f'Box{side}']) for side in ('XMin', 'XMax', 'YMin', 'YMax')] for row in rows]
    left, right, top, bottom = np.array(boxes, np.float64).reshape(-1, 4).T
    return {
        'area_ratio': ((right - left) * (bottom - top)).astype(np.float32),
        'predicted_iou': np.array([float(row['PredictedIoU']) for row in rows], np.float32),
        'stability_score': np.ones(len(rows), np.float32),
        'touches_border': (left <= 0) | (top <= 0) | (right >= 1) | (bottom >= 1),
    }


def read_class_names(path: str | Path) -> dict[str, str]:
    """Label -> name of an OpenImages class table, with or without header."""
    with Path(path).open(newline='') as file:
        rows = [row for row in csv.reader(file) if len(row) >= 2]
    return {label: name for label, name, *_ in rows if label != 'LabelName'}
