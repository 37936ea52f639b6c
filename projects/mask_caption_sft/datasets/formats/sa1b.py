"""SA-1B: one JSON of masks per image."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ops.mask import decode_segmentation
from ...structures import UnusableRecordError
from ..base import RegionDataset, read_image
from ..index.columns import INDEX_DIR, open_index, sa1b_columns, sa1b_files
from ..index.mask_filter import MaskFilter
from ..index.records import IndexedRecords
from ..inside import inside
from ..transforms import RawSample, RawView


class SA1B(RegionDataset):
    """All masks of an image; no text. The second view is a transform.

    On disk (https://ai.meta.com/datasets/segment-anything-downloads)::

        **/sa_*.jpg
        **/sa_*.json    image{image_id, width, height, file_name}
                        annotations[]{segmentation (RLE), area, predicted_iou, stability_score}

    With an index (``tools/build_index.py``) a run starts at once, and images in which no mask
    passes the filter are not drawn; without one the files are listed at the start but not
    opened. An image has about 100 masks of 3 million pixels each: ``max_masks`` of them are
    chosen first, and only those are decoded.

    Args:
        mask_filter: Which masks may be drawn; arguments of :class:`MaskFilter`.
        max_masks: Take at most this many masks of an image, chosen at random; None takes all.
        index_dir: Folder of the index, below ``data_root``.
    """

    LAYOUT = 'Expected sa_*.json beside sa_*.jpg.'
    SOURCE = 'SA-1B, https://ai.meta.com/datasets/segment-anything-downloads'

    def __init__(
        self,
        data_root: str,
        mask_filter: Mapping[str, Any] | None = None,
        max_masks: int | None = 32,
        index_dir: str = INDEX_DIR,
        **kwargs,
    ) -> None:
        self.mask_filter = MaskFilter(**(mask_filter or {}))
        self.max_masks, self.index_dir = max_masks, index_dir
        super().__init__(data_root=data_root, **kwargs)

    def lazy_records(self) -> IndexedRecords | None:
        index = open_index(self.data_root, self.index_dir, self.name)
        if index is None:
            return None
        images = index.usable(self.mask_filter, self.skipped_ids())[: self.max_samples]
        if not len(images):
            raise ValueError(f'no mask of dataset {self.name!r} passes {self.mask_filter}. Widen it.')
        return IndexedRecords(index, images, self.mask_filter, self._indexed_record)

    def _indexed_record(self, name: str, positions: list[int]) -> dict:
        return {'sample_id': f'{self.data_root}/{name}', 'positions': positions}

    def list_records(self) -> list[dict]:
        return [{'sample_id': f'{self.data_root}/{name}'} for name in sa1b_files(self.data_root)[0]]

    def read_record(self, record: dict) -> RawSample:
        path = Path(record['sample_id'])
        content = json.loads(path.read_text())
        info = content['image']
        image_path = inside(path.parent, info['file_name'])
        image = read_image(image_path)
        if image.shape[:2] != (info['height'], info['width']):
            raise ValueError(
                f'{image_path.name} is {image.shape[1]} x {image.shape[0]}, its JSON says '
                f'{info["width"]} x {info["height"]}'
            )
        masks = [
            decode_segmentation(annotation['segmentation'], info['height'], info['width'])
            for annotation in self._draw(content, record.get('positions'))
        ]
        view = RawView(str(image_path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, [None] * len(masks))

    def _draw(self, content: dict, positions: list[int] | None) -> list[dict]:
        annotations = content['annotations']
        if positions is None:
            columns = sa1b_columns(content)
            positions = np.flatnonzero(self.mask_filter.passes(columns)).tolist()
            if not positions:
                raise UnusableRecordError(f'none of {len(annotations)} annotations passes {self.mask_filter}')
        if self.max_masks is not None and len(positions) > self.max_masks:
            rows = np.sort(np.random.choice(len(positions), self.max_masks, replace=False))
            positions = [positions[row] for row in rows]
        return [annotations[position] for position in positions]
