"""SA-1B: one JSON of masks per image."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ops.mask import to_rle
from ..base import RECORD_ERRORS, read_image
from ..index.mask_filter import MaskFilter
from ..index.schema import MaskRows, TablePart
from ..index.tree import FileTree
from ..inside import inside
from ..lazy_masks import LazyMasks
from ..raw_sample import RawSample, RawView
from ..tabled import TabledDataset

_BORDER_PIXELS = 1


class SA1B(TabledDataset):
    """All masks of an image; no text. The second view is a transform.

    On disk (https://ai.meta.com/datasets/segment-anything-downloads)::

        **/sa_*.jpg
        **/sa_*.json    image{image_id, width, height, file_name}
                        annotations[]{segmentation (RLE), area, predicted_iou, stability_score}

    Images in which no mask passes the filter are not drawn. An image has about 100 masks of 3 million
    pixels each: ``max_masks`` of them are chosen by their columns in the table, and of those the pipeline
    decodes the ones that it keeps. A mask whose RLE is damaged is left out and named; the others stay.

    Args:
        mask_filter: Which masks may be drawn; arguments of :class:`MaskFilter`.
        max_masks: Take at most this many masks of an image, chosen at random; None takes all.
    """

    LAYOUT = 'Expected sa_*.json beside sa_*.jpg.'
    DRAWN_COLUMNS = ('key', 'reference')
    SOURCE = 'SA-1B, https://ai.meta.com/datasets/segment-anything-downloads'

    def __init__(
        self,
        data_root: str,
        mask_filter: Mapping[str, Any] | None = None,
        max_masks: int | None = 32,
        **kwargs,
    ) -> None:
        self.mask_filter = MaskFilter(**(mask_filter or {}))
        self.max_masks = max_masks
        super().__init__(data_root=data_root, **kwargs)

    def table_source(self) -> 'SA1BFiles':
        return SA1BFiles(self.root)

    def make_record(self, row: dict[str, Any]) -> dict[str, Any]:
        return {'positions': [int(reference) for reference in row['reference']], 'key': row['key']}

    def read_masks(self, record: dict) -> RawSample:
        path = inside(self.root, self.short_id(record['sample_id']))
        data = path.read_bytes()
        if zlib.crc32(data) != record['key']:
            raise ValueError(
                f'{path.name} is not as it was when the table of masks was made. Start again, or run '
                'tools/build_index.py.'
            )
        content = json.loads(data)
        info = content['image']
        image_path = inside(path.parent, info['file_name'])
        image = read_image(image_path)
        if image.shape[:2] != (info['height'], info['width']):
            raise ValueError(
                f'{image_path.name} is {image.shape[1]} x {image.shape[0]}, its JSON says '
                f'{info["width"]} x {info["height"]}'
            )
        rles, dropped = _readable(content['annotations'], self._draw(record['positions']), image.shape[:2])
        view = RawView(str(image_path), image, LazyMasks.from_rles(rles))
        return RawSample(self.name, record['sample_id'], view, None, [None] * len(rles), dropped=dropped)

    def _draw(self, positions: list[int]) -> list[int]:
        if self.max_masks is not None and len(positions) > self.max_masks:
            rows = np.sort(np.random.choice(len(positions), self.max_masks, replace=False))
            positions = [positions[row] for row in rows]
        return positions


def _readable(
    annotations: list[dict], positions: list[int], size: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[str]]:
    """RLEs of annotations, and the reasons for those that have to be left out."""
    rles, dropped = [], []
    for position in positions:
        try:
            rles.append(to_rle(annotations[position]['segmentation'], *size))
        except (ValueError, LookupError, TypeError) as error:
            dropped.append(f'annotation {position}: {type(error).__name__}: {error}')
    if not rles:
        raise ValueError(f'none of the {len(positions)} masks that were drawn can be read; {dropped[0]}')
    return rles, dropped


@dataclass(frozen=True)
class SA1BFiles(FileTree):
    """Reads annotation files into the mask table; ``reference`` is an annotation's position in its file."""

    KIND, PATTERN = 'sa1b', '*.json'

    def read(self, names: Sequence[str]) -> TablePart:
        rows = MaskRows()
        for name in names:
            try:
                data = self.place(name).read_bytes()
                content = json.loads(data)
                columns = annotation_columns(content)
                if not content['annotations']:
                    raise ValueError('the file holds no annotation')
                size = {side: int(content['image'][side]) for side in ('height', 'width')}
                image = name.rpartition('/')[0] + '/' + str(content['image']['file_name'])
            except RECORD_ERRORS as error:
                rows.faults.append((name, f'{type(error).__name__}: {error}'))
                continue
            shared = {
                'record': name,
                'image': image.lstrip('/'),
                'source': name,
                'key': zlib.crc32(data),
                **size,
            }
            for position in range(len(content['annotations'])):
                values = {column: columns[column][position] for column in columns}
                rows.add(reference=str(position), **shared, **values)
        return rows.part()


def annotation_columns(content: dict[str, Any]) -> dict[str, np.ndarray]:
    """Columns for one SA-1B annotation file; a mask within a pixel of the border counts as touching it."""
    height, width = content['image']['height'], content['image']['width']
    annotations = content['annotations']
    x, y, w, h = np.array([a['bbox'] for a in annotations], dtype=np.float64).reshape(-1, 4).T
    edge = _BORDER_PIXELS
    border = (x <= edge) | (y <= edge) | (x + w >= width - 1 - edge) | (y + h >= height - 1 - edge)
    return {
        'area_ratio': np.array([a['area'] for a in annotations], np.float32) / (height * width),
        'box': np.stack([x / width, y / height, (x + w) / width, (y + h) / height], axis=1),
        'predicted_iou': np.array([a.get('predicted_iou', 1.0) for a in annotations], np.float32),
        'stability_score': np.array([a.get('stability_score', 1.0) for a in annotations], np.float32),
        'touches_border': border,
    }
