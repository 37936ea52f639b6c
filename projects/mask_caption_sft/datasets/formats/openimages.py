"""OpenImages V7 instance masks."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..base import RegionDataset, read_image
from ..index.columns import INDEX_DIR, open_index, openimages_columns, read_class_names
from ..index.mask_filter import MaskFilter
from ..index.records import IndexedRecords, repeat_rare
from ..inside import inside
from ..transforms import RawSample, RawView

_FEW_ROWS, _MAX_FAULTY_RATIO = 10, 0.05
#: A mask that is smaller than its image by more than this factor belongs to another image.
_MAX_SHRINK = 16


class OpenImages(RegionDataset):
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
        index_dir: Folder of the index (``tools/build_index.py``), below ``data_root``.
    """

    LAYOUT = (
        'Expected train-annotations-object-segmentation.csv, oidv7-class-descriptions.csv, '
        'images/train/ and masks/train/.'
    )
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
        index_dir: str = INDEX_DIR,
        **kwargs,
    ) -> None:
        self.class_file, self.split = class_file, split
        self.class_name_as_expression = class_name_as_expression
        self.mask_filter, self.oversample_thr = MaskFilter(**(mask_filter or {})), oversample_thr
        self.index_dir = index_dir
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)

    def full_init(self) -> None:
        """Read the class names first: every row of the table refers to one."""
        if not self._fully_initialized:
            self.check_path(self.data_root)
            self.names = read_class_names(self.check_path(Path(self.data_root) / self.class_file))
            self.check_path(self.ann_file)
        super().full_init()

    def lazy_records(self) -> IndexedRecords | None:
        index = open_index(self.data_root, self.index_dir, self.name)
        if index is None:
            return None
        skipped = {name.split('#')[-1] for name in self.skipped_ids()}
        images = index.usable(self.mask_filter, skipped)
        if self.oversample_thr is not None:
            images = self._oversampled(images, np.concatenate([[0], index.ends]), index.columns['label'])
        if not len(images):
            raise ValueError(f'no mask of dataset {self.name!r} passes {self.mask_filter}. Widen it.')
        return IndexedRecords(index, images[: self.max_samples], self.mask_filter, self._indexed_record)

    def _indexed_record(self, image: str, positions: list[int]) -> dict:
        return {'sample_id': f'{self.ann_file}#{image}', 'image': image, 'offsets': positions}

    def _oversampled(self, images: np.ndarray, starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        counts = starts[images + 1] - starts[images]
        image_of = np.repeat(np.arange(len(images)), counts)
        within = np.arange(len(image_of)) - np.repeat(np.cumsum(counts) - counts, counts)
        label_of = labels[np.repeat(starts[images], counts) + within]
        kept, repeats = repeat_rare(image_of, label_of, self.oversample_thr or 0.0)
        return np.repeat(images[kept], repeats)

    def list_records(self) -> list[dict]:
        rows, faults = self._read_table()
        if not rows or len(faults) > max(_FEW_ROWS, _MAX_FAULTY_RATIO * len(rows)):
            first = ''.join(fault['fault'] for fault in faults[:1])
            raise ValueError(
                f'{self.ann_file}: {len(faults)} of {len(rows) + len(faults)} rows are faulty; the first: '
                f'{first}. Use the table and the class descriptions of the same release.'
            )
        columns = openimages_columns([row for _, row in rows])
        passing = self.mask_filter.passes(columns)
        by_image: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for (_, row), passes in zip(rows, passing):
            if passes:
                by_image[row['ImageID']].append((row['MaskPath'], row['LabelName']))
        images = sorted(by_image)
        if self.oversample_thr is not None:
            images = self._repeated(images, by_image)
        good = [
            {'sample_id': f'{self.ann_file}#{image}', 'image': image, 'masks': by_image[image]}
            for image in images
        ]
        return good + faults

    def _repeated(self, images: list[str], by_image: dict[str, list[tuple[str, str]]]) -> list[str]:
        numbers = {label: i for i, label in enumerate(sorted(self.names))}
        starts = np.cumsum([0, *(len(by_image[image]) for image in images)])
        labels = np.array([numbers[label] for image in images for _, label in by_image[image]])
        return [images[i] for i in self._oversampled(np.arange(len(images)), starts, labels)]

    def _read_table(self) -> tuple[list[tuple[int, dict[str, str]]], list[dict]]:
        """The good rows with their line numbers, and a broken record for each of the others."""
        rows, faults = [], []
        with Path(self.ann_file).open(newline='', errors='replace') as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                try:
                    self._check_row(row)
                    openimages_columns([row])
                except (ValueError, LookupError, TypeError) as error:
                    fault = f'{self.ann_file}, line {line}: {error}'
                    faults.append({'sample_id': f'{self.ann_file}#line {line}', 'fault': fault})
                else:
                    rows.append((line, row))
        return rows, faults

    def _check_row(self, row: Mapping[str, str]) -> None:
        if not row.get('MaskPath') or not row.get('ImageID') or not row.get('LabelName'):
            raise ValueError('MaskPath, ImageID or LabelName is missing.')
        if row['LabelName'] not in self.names:
            raise ValueError(
                f'label {row["LabelName"]!r} is not in {self.class_file}. '
                'Use the class descriptions of the same release.'
            )

    def read_record(self, record: dict) -> RawSample:
        if 'fault' in record:
            raise ValueError(record['fault'])
        image_path = inside(Path(self.data_root) / 'images' / self.split, f'{record["image"]}.jpg')
        image = read_image(image_path)
        rows = record['masks'] if 'masks' in record else self._rows_at(record['offsets'])
        masks = [self._read_mask(path, image.shape[:2]) for path, _ in rows]
        texts = [self.names[label].lower() if self.class_name_as_expression else None for _, label in rows]
        view = RawView(str(image_path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, texts)

    def _rows_at(self, offsets: Sequence[int]) -> list[tuple[str, str]]:
        rows = []
        with Path(self.ann_file).open('rb') as file:
            header = next(csv.reader([file.readline().decode()]))
            for offset in offsets:
                file.seek(offset)
                row = dict(zip(header, next(csv.reader([file.readline().decode()]), [])))
                self._check_row(row)
                rows.append((row['MaskPath'], row['LabelName']))
        return rows

    def _read_mask(self, name: str, size: tuple[int, int]) -> np.ndarray:
        folder = Path(self.data_root) / 'masks' / self.split
        path = inside(folder, name)
        path = path if path.exists() else folder / name[0] / name
        try:
            with Image.open(path) as file:
                mask = file.convert('L')
        except OSError as error:
            raise OSError(error.errno, f'{path} cannot be read as a mask ({error})') from error
        height, width = size
        if mask.width < width / _MAX_SHRINK or mask.height < height / _MAX_SHRINK:
            raise ValueError(
                f'mask {path.name} of {mask.width} x {mask.height} is too small for its image of '
                f'{width} x {height}'
            )
        # A correct mask has its image's proportions, but each of its sides is rounded by up to half a pixel.
        error = abs(mask.width * height - mask.height * width)
        if error > 0.5 * (width + height) + 1:
            raise ValueError(
                f'mask {path.name} of {mask.width} x {mask.height} has a different aspect ratio from '
                f'its image of {width} x {height}'
            )
        return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) > 0
