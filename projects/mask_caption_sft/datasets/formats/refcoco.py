"""RefCOCO, RefCOCO+, RefCOCOg, and gRefCOCO."""

import json
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ...ops.mask import to_rle, unite_rles
from ...ops.prompts import check_expression
from ..base import read_image
from ..inside import inside
from ..lazy_masks import LazyMasks
from ..raw_sample import RawSample, RawView
from ..remote.path import AnyPath, absolute
from ..tabled import TabledDataset
from .refcoco_table import REF_FILES, RefCOCOTable, held_out_files

#: Where images are looked for, relative to ``data_root``: the layouts of Sa2VA, refer and plain folders.
IMAGE_DIRS = (
    'coco2014/train2014', 'train2014', 'images/train2014', 'images/mscoco/images/train2014',
    '../coco2014/train2014', '../train2014', '../images/mscoco/images/train2014', 'images', '.',
)  # fmt: skip


class RefCOCO(TabledDataset):
    """The objects of an image that people have described.

    On disk (https://github.com/lichengunc/refer; gRefCOCO: https://github.com/henghuiding/gRefCOCO)::

        instances.json    COCO: images[id, file_name, height, width],
                          annotations[id, image_id, segmentation]
        refs(unc).p       pickled list (or refs(unc).json, grefs(unc).json), one ref per object:
                          ref_id, image_id
                          ann_id      one id, or a list (gRefCOCO: their union); -1: no target
                          split       'train' | 'val' | 'testA' | 'testB' | 'test'
                          sentences[sent_id, sent]
        {image_dir}/      COCO train2014 images

    A ref's own ``file_name`` is ignored, because only the image's is correct. An item is an
    image with all its objects. For training, one sentence per object is drawn; with
    ``every_expression`` each sentence is a region of its own (validation).

    Images that belong to any other split, of this set or of one beside it
    (``refcoco``, ``refcoco+`` and ``refcocog`` share images), are left out of training.

    Args:
        split_by: Whose splits to use, as in the file's name: ``'unc'``, ``'umd'`` or ``'google'``.
        split: Which part to use.
        image_dir: Folder of the images, below ``data_root``; None tries ``IMAGE_DIRS``.
        every_expression: All sentences, in order, instead of one drawn per object.
        no_target: ``'skip'`` leaves out expressions that fit nothing; ``'empty'`` teaches an
            empty mask for them.
    """

    LAYOUT = 'Expected instances.json, refs(unc|umd|google).p (or .json) and COCO train2014 images.'
    SOURCE = 'https://github.com/lichengunc/refer and https://cocodataset.org/#download'

    def __init__(
        self,
        data_root: str,
        split_by: str = 'unc',
        split: str = 'train',
        image_dir: str | None = None,
        every_expression: bool = False,
        no_target: str = 'skip',
        **kwargs,
    ) -> None:
        if no_target not in ('skip', 'empty'):
            raise ValueError(f"no_target={no_target!r} is not one of 'skip', 'empty'.")
        self.split_by, self.split, self.image_dir = split_by, split, image_dir
        self.every_expression, self.no_target = every_expression, no_target
        super().__init__(data_root=data_root, **kwargs)

    DRAWN_COLUMNS = ('image', 'height', 'width', 'mask', 'texts')

    def table_source(self) -> RefCOCOTable:
        root = self.root
        refs = self._refs_path().name
        self.image_folder = self._find_images()
        self.check_path(root / 'instances.json')
        beside = held_out_files(root) if self.split == 'train' else []
        files = dict.fromkeys((refs, 'instances.json', *beside))
        return RefCOCOTable(root, tuple(files), self.split, self.no_target)

    def lazy_records(self):
        records = super().lazy_records()
        if self.split == 'train':
            refs, _, *others = self.table_source().files
            files = [absolute(self.root) / name for name in (refs, *others)]
            names = ', '.join(f'{path.parent.name}/{path.name}' for path in files)
            print_log(
                f'{self.name}: images of held-out splits are left out, according to {names}.', 'current'
            )
        return records

    def make_record(self, row: dict[str, Any]) -> dict[str, Any]:
        image = {'file_name': row['image'], 'height': row['height'], 'width': row['width']}
        objects = [(json.loads(mask), texts) for mask, texts in zip(row['mask'], row['texts'])]
        return {'image': image, 'objects': objects}

    def _refs_path(self) -> AnyPath:
        names = [name.format(self.split_by) for name in REF_FILES]
        found = [path for name in names if (path := self.root / name).exists()]
        return found[0] if found else self.check_path(self.root / names[0])

    def _find_images(self) -> AnyPath:
        if self.image_dir is not None:
            return self.check_path(self.root / self.image_dir)
        for name in IMAGE_DIRS:
            folder = self.root / name
            if folder.is_dir() and any(path.suffix == '.jpg' for path in folder.iterdir()):
                return folder
        return self.check_path(self.root / IMAGE_DIRS[0])

    def read_masks(self, record: dict) -> RawSample:
        info = record['image']
        path = inside(self.image_folder, info['file_name'])
        image = read_image(path)
        height, width = image.shape[:2]
        if (height, width) != (info['height'], info['width']):
            raise ValueError(
                f'{path.name} is {width} x {height}, instances.json says {info["width"]} x {info["height"]}'
            )
        rles, expressions, absent = [], [], []
        for segmentations, sentences in record['objects']:
            parts = [to_rle(segmentation, height, width) for segmentation in segmentations]
            rle = unite_rles(parts, height, width)
            drawn = sentences if self.every_expression else [sentences[np.random.randint(len(sentences))]]
            for sentence in drawn:
                check_expression(sentence)
                rles.append(rle)
                expressions.append(sentence.strip())
                absent.append(not segmentations)
        view = RawView(str(path), image, LazyMasks.from_rles(rles))
        return RawSample(self.name, record['sample_id'], view, None, expressions, absent)
