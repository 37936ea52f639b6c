"""Images with masks that are in the table."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ...ops.mask import to_rle
from ..base import read_image
from ..index.mask_filter import MaskFilter
from ..inside import inside
from ..lazy_masks import LazyMasks, RLEMask
from ..raw_sample import RawSample, RawView
from ..remote.path import AnyPath
from ..tabled import TabledDataset


class InstanceMasks(TabledDataset):
    """The base of formats whose masks the table holds as RLEs: only those that are kept are decoded.

    Args:
        mask_filter: Which masks may be drawn; arguments of :class:`MaskFilter`.
        class_name_as_expression: Use the name of a mask's class as a (weak) expression, where it has one; by
            default the masks have no text.
    """

    DRAWN_COLUMNS = ('image', 'height', 'width', 'mask', 'area_ratio', 'label', 'texts')

    def __init__(
        self,
        data_root: str,
        mask_filter: Mapping[str, Any] | None = None,
        class_name_as_expression: bool = False,
        **kwargs: Any,
    ) -> None:
        self.mask_filter = MaskFilter(**(mask_filter or {}))
        self.class_name_as_expression = class_name_as_expression
        super().__init__(data_root=data_root, **kwargs)

    def image_path(self, name: str) -> AnyPath:
        """Where the image is that the table names."""
        return inside(self.root, name)

    def read_masks(self, record: dict) -> RawSample:
        rows = list(range(len(record['mask'])))
        view = self.read_view(record, rows)
        return RawSample(self.name, record['sample_id'], view, None, self.texts(record, rows))

    def read_view(self, row: dict[str, Any], chosen: list[int]) -> RawView:
        """The image of a row of the selection, with some of its masks."""
        path = self.image_path(row['image'])
        image = read_image(path)
        size = image.shape[:2]
        if size != (row['height'], row['width']):
            raise ValueError(
                f'{path.name} of {size[1]} x {size[0]} does not match its masks of {row["width"]} x '
                f'{row["height"]}'
            )
        decoders = [RLEMask(partial(_checked, row['mask'][i], size)) for i in chosen]
        areas = np.array([row['area_ratio'][i] for i in chosen])
        return RawView(str(path), image, LazyMasks(decoders, areas))

    def texts(self, row: dict[str, Any], chosen: list[int]) -> list[str | None]:
        """Expressions of some of the masks."""
        names = [row['texts'][i] for i in chosen]
        return [name[0] if name and self.class_name_as_expression else None for name in names]


def _checked(text: str, size: tuple[int, int]) -> dict[str, Any]:
    return to_rle(json.loads(text), *size)


def mask_columns(rle: dict[str, Any]) -> dict[str, Any]:
    """Columns of one mask that is not empty, from its compressed RLE with ``counts`` as str."""
    height, width = rle['size']
    left, top, across, down = coco_mask.toBbox(rle).tolist()
    return {
        'height': height,
        'width': width,
        'mask': json.dumps(rle),
        'area_ratio': float(coco_mask.area(rle)) / (height * width),
        'box': [left / width, top / height, (left + across) / width, (top + down) / height],
        'touches_border': bool(left <= 0 or top <= 0 or left + across >= width or top + down >= height),
    }
