"""OpenImages V7 instance masks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from ..base import read_image
from ..index.mask_filter import MaskFilter
from ..index.repeat_rare import repeat_rare
from ..index.selection import Selection
from ..index.table import MaskTable
from ..inside import inside
from ..lazy_masks import LazyMasks
from ..raw_sample import RawSample, RawView
from ..remote.path import AnyPath, readable
from ..tabled import TabledDataset
from .openimages_table import OpenImagesTable

#: A mask that is smaller than its image by more than this factor belongs to another image.
_MAX_SHRINK = 16


class OpenImages(TabledDataset):
    """The masks of an image with their class names.

    On disk (https://storage.googleapis.com/openimages/web/download_v7.html)::

        train-annotations-object-segmentation.csv   MaskPath,ImageID,LabelName,BoxID,...
        oidv7-class-descriptions.csv                LabelName,DisplayName (older: no header)
        images/train/{ImageID}.jpg
        masks/train/{MaskPath}, or masks/train/{first hex digit}/{MaskPath}

    A mask's size differs from its image's in about 94 % of pairs; it is resized to the image
    by nearest neighbour. A different aspect ratio means a different image: an error.
    A row that is short or names an unknown class is a broken record; if there are many such rows
    (more than 10, and more than one in twenty), the table itself is wrong, and the run does not start.

    Args:
        ann_file: The annotation table, below ``data_root``.
        class_file: The class names, below ``data_root``.
        split: Folder below ``images`` and ``masks``.
        class_name_as_expression: Use the class name as a (weak) expression;
            by default the masks have no text.
        mask_filter: Which masks may be drawn; arguments of :class:`MaskFilter`. Areas
            and borders are those of the table's boxes.
        oversample_thr: Draw images of rare classes more often, see :func:`repeat_rare`.
    """

    LAYOUT = (
        'Expected train-annotations-object-segmentation.csv, oidv7-class-descriptions.csv, '
        'images/train/ and masks/train/.'
    )
    DRAWN_COLUMNS = ('image', 'reference', 'label', 'texts')
    SOURCE = 'OpenImages V7, https://storage.googleapis.com/openimages/web/download_v7.html'

    def __init__(
        self,
        data_root: str,
        ann_file: str = 'train-annotations-object-segmentation.csv',
        class_file: str = 'oidv7-class-descriptions.csv',
        split: str = 'train',
        class_name_as_expression: bool = False,
        mask_filter: Mapping[str, Any] | None = None,
        oversample_thr: float | None = None,
        **kwargs,
    ) -> None:
        self.class_file, self.split = class_file, split
        self.class_name_as_expression = class_name_as_expression
        self.mask_filter, self.oversample_thr = MaskFilter(**(mask_filter or {})), oversample_thr
        self.table_file = ann_file
        super().__init__(data_root=data_root, **kwargs)

    def table_source(self) -> OpenImagesTable:
        files = (self.table_file, self.class_file)
        for name in files:
            self.check_path(self.root / name)
        return OpenImagesTable(self.root, files)

    def _limit(self) -> int | None:
        return self.max_samples if self.oversample_thr is None else None

    def _order(self, table: MaskTable, selection: Selection) -> np.ndarray | None:
        if self.oversample_thr is None or not len(selection):
            return None
        labels = selection.column('label')
        image_of = pc.list_parent_indices(labels).to_numpy()
        label_of = pc.list_flatten(labels).combine_chunks().dictionary_encode().indices.to_numpy()
        return np.repeat(*repeat_rare(image_of, label_of, self.oversample_thr))

    def make_record(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            'image': row['image'],
            'masks': row['reference'],
            'texts': [texts[0] for texts in row['texts']],
        }

    def read_masks(self, record: dict) -> RawSample:
        image_path = inside(self.root / 'images' / self.split, f'{record["image"]}.jpg')
        image = read_image(image_path)
        folder = self.root / 'masks' / self.split
        paths = [inside(folder, name) for name in record['masks']]
        decoders = [partial(_read_mask, path, image.shape[:2]) for path in paths]
        texts = [text.lower() if self.class_name_as_expression else None for text in record['texts']]
        view = RawView(str(image_path), image, LazyMasks(decoders))
        return RawSample(self.name, record['sample_id'], view, None, texts)


def _read_mask(path: AnyPath, size: tuple[int, int]) -> np.ndarray:
    """A mask file at the size of its image, ``[H, W]`` bool."""
    path = path if path.exists() else path.parent / path.name[0] / path.name
    try:
        with Image.open(readable(path)) as file:
            mask = file.convert('L')
    except OSError as error:
        raise OSError(error.errno, f'{path} cannot be read as a mask ({error})') from error
    height, width = size
    if mask.width < width / _MAX_SHRINK or mask.height < height / _MAX_SHRINK:
        raise ValueError(
            f'mask {path.name} of {mask.width} x {mask.height} is too small for its image of '
            f'{width} x {height}'
        )
    if not same_proportions((mask.width, mask.height), (width, height)):
        raise ValueError(
            f'mask {path.name} of {mask.width} x {mask.height} has a different aspect ratio from '
            f'its image of {width} x {height}'
        )
    return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) > 0


def same_proportions(first: tuple[int, int], second: tuple[int, int]) -> bool:
    r"""Whether two sizes can be those of one picture, each side rounded to a whole number, up or down.

    With a true size :math:`(W, H)`, scales s and t and errors below one pixel,
    :math:`w_1 = sW + e_1, h_1 = sH + e_2, w_2 = tW + e_3, h_2 = tH + e_4`, so that

    .. math:: |w_1 h_2 - w_2 h_1| = |e_4 sW + e_1 tH - e_3 sH - e_2 tW + e_1 e_4 - e_2 e_3|
              < sW + sH + tW + tH + 2 < w_1 + h_1 + w_2 + h_2 + 6.
    """
    (width1, height1), (width2, height2) = first, second
    return abs(width1 * height2 - width2 * height1) < width1 + height1 + width2 + height2 + 6
