"""OpenImages V7 instance masks."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from .base import RegionDataset, read_image
from .transforms import RawSample, RawView


class OpenImages(RegionDataset):
    """The masks of an image with their class names.

    On disk (https://storage.googleapis.com/openimages/web/download_v7.html)::

        train-annotations-object-segmentation.csv   MaskPath,ImageID,LabelName,BoxID,...
        oidv7-class-descriptions.csv                LabelName,DisplayName (older: no header)
        images/train/{ImageID}.jpg
        masks/train/{MaskPath}, or masks/train/{first hex digit}/{MaskPath}

    A mask's size differs from its image's in about 94 % of pairs; it is resized to
    the image by nearest. Another aspect ratio means another image: an error.

    Args:
        ann_file: The annotation table, below ``data_root``.
        class_file: The class names, below ``data_root``.
        split: Folder below ``images`` and ``masks``.
        class_name_as_expression: Use the class name as a (weak) expression;
            by default the masks have no text.
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
        **kwargs,
    ) -> None:
        self.class_file, self.split = class_file, split
        self.class_name_as_expression = class_name_as_expression
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)

    def list_records(self) -> list[dict]:
        names = self._class_names()
        path = self.check_path(self.ann_file)
        records: dict[str, list[tuple[str, str]]] = defaultdict(list)
        with path.open(newline='') as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                if not row.get('MaskPath') or not row.get('ImageID') or not row.get('LabelName'):
                    raise ValueError(f'{path}, line {line}: MaskPath, ImageID or LabelName is missing.')
                if row['LabelName'] not in names:
                    raise ValueError(
                        f'{path}, line {line}: label {row["LabelName"]!r} is not in {self.class_file}. '
                        'Use the class descriptions of the same release.'
                    )
                records[row['ImageID']].append((row['MaskPath'], names[row['LabelName']]))
        return [
            {'sample_id': f'{path}#{image}', 'image': image, 'masks': masks}
            for image, masks in sorted(records.items())
        ]

    def _class_names(self) -> dict[str, str]:
        path = self.check_path(Path(self.data_root) / self.class_file)
        with path.open(newline='') as file:
            rows = [row for row in csv.reader(file) if len(row) >= 2]
        return {label: name for label, name, *_ in rows if label != 'LabelName'}

    def read_record(self, record: dict) -> RawSample:
        image_path = Path(self.data_root) / 'images' / self.split / f'{record["image"]}.jpg'
        image = read_image(image_path)
        masks = [self._read_mask(name, image.shape[:2]) for name, _ in record['masks']]
        texts = [name.lower() if self.class_name_as_expression else None for _, name in record['masks']]
        view = RawView(str(image_path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, texts)

    def _read_mask(self, name: str, size: tuple[int, int]) -> np.ndarray:
        folder = Path(self.data_root) / 'masks' / self.split
        path = folder / name if (folder / name).exists() else folder / name[0] / name
        try:
            with Image.open(path) as file:
                mask = file.convert('L')
        except OSError as error:
            raise OSError(f'{path} cannot be read as a mask ({error})') from error
        height, width = size
        # A correct mask is the image scaled; each of its sides is rounded by up to half a pixel.
        error = abs(mask.width * height - mask.height * width)
        if error > 0.5 * (width + height) + 1:
            raise ValueError(
                f'mask {path.name} of {mask.width} x {mask.height} has another aspect ratio than '
                f'its image of {width} x {height}'
            )
        return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) > 0
