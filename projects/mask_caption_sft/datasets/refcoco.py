"""RefCOCO, RefCOCO+ and RefCOCOg."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..ops.mask import decode_segmentation
from ..ops.prompts import check_expression
from .base import RegionDataset, read_image
from .restricted_pickle import load_plain_pickle
from .transforms import RawSample, RawView


class RefCOCO(RegionDataset):
    """The objects of an image that people have described.

    On disk (https://github.com/lichengunc/refer)::

        instances.json    COCO: images[id, file_name, height, width],
                          annotations[id, image_id, segmentation]
        refs(unc).p       pickled list, one ref per object:
                          ref_id, ann_id, image_id
                          split       'train' | 'val' | 'testA' | 'testB' | 'test'
                          sentences[sent_id, sent]
        {image_dir}/      COCO train2014 images

    A ref's own ``file_name`` is ignored: the image's is right. An item is an image
    with all its objects. For training one sentence per object is drawn; with
    ``every_expression`` each sentence is a region of its own (validation).

    Images of any other split, in this set or in a set beside it
    (``refcoco``, ``refcoco+``, ``refcocog`` share images), are not trained on.

    Args:
        split_by: The file's split, ``'unc'``, ``'umd'`` or ``'google'``.
        split: Which part to use.
        image_dir: Images, below ``data_root``.
        every_expression: All sentences, in order, instead of one drawn per object.
    """

    LAYOUT = 'Expected instances.json, refs(unc|umd|google).p and COCO train2014 images.'
    SOURCE = 'https://github.com/lichengunc/refer and https://cocodataset.org/#download'

    def __init__(
        self,
        data_root: str,
        split_by: str = 'unc',
        split: str = 'train',
        image_dir: str = 'coco2014/train2014',
        every_expression: bool = False,
        **kwargs,
    ) -> None:
        self.split_by, self.split, self.image_dir = split_by, split, image_dir
        self.every_expression = every_expression
        super().__init__(data_root=data_root, **kwargs)

    def list_records(self) -> list[dict]:
        root = Path(self.data_root)
        refs_path = self.check_path(root / f'refs({self.split_by}).p')
        self.check_path(root / self.image_dir)
        refs = load_plain_pickle(refs_path)
        instances = json.loads(self.check_path(root / 'instances.json').read_text())
        images = {image['id']: image for image in instances['images']}
        annotations = {annotation['id']: annotation for annotation in instances['annotations']}
        splits = sorted({ref['split'] for ref in refs})
        if self.split not in splits:
            raise ValueError(f'{refs_path} has no split {self.split!r}. Set split to one of {splits}.')
        held_out = self._held_out_images() if self.split == 'train' else set()
        by_image: dict[int, list[dict]] = defaultdict(list)
        for ref in refs:
            if ref['ann_id'] not in annotations:
                raise ValueError(
                    f'{refs_path}: ref {ref["ref_id"]} names annotation {ref["ann_id"]}, which is not in '
                    f'{root / "instances.json"}. Use files of the same release.'
                )
            if ref['split'] == self.split and ref['image_id'] not in held_out:
                by_image[ref['image_id']].append(ref)
        return [
            self._record(refs_path, images[image_id], by_image[image_id], annotations)
            for image_id in sorted(by_image)
        ]

    @staticmethod
    def _record(path: Path, image: dict, refs: list[dict], annotations: dict[int, dict]) -> dict[str, Any]:
        objects = [
            (annotations[ref['ann_id']]['segmentation'], [s['sent'] for s in ref['sentences']])
            for ref in refs
        ]
        return {'sample_id': f'{path}#image {image["id"]}', 'image': image, 'objects': objects}

    def _held_out_images(self) -> set[int]:
        """Images of validation and test splits, of this set and of those beside it."""
        root = Path(self.data_root)
        files = sorted({*root.glob('refs(*).p'), *root.parent.glob('refcoco*/refs(*).p')})
        held_out = {
            ref['image_id'] for path in files for ref in load_plain_pickle(path) if ref['split'] != 'train'
        }
        names = ', '.join(f'{path.parent.name}/{path.name}' for path in files)
        print_log(f'{self.name}: images of held-out splits are not drawn; looked at {names}.', 'current')
        return held_out

    def read_record(self, record: dict) -> RawSample:
        info = record['image']
        path = Path(self.data_root) / self.image_dir / info['file_name']
        image = read_image(path)
        height, width = image.shape[:2]
        if (height, width) != (info['height'], info['width']):
            raise ValueError(
                f'{path.name} is {width} x {height}, instances.json says {info["width"]} x {info["height"]}'
            )
        masks, expressions = [], []
        for segmentation, sentences in record['objects']:
            mask = decode_segmentation(segmentation, height, width)
            drawn = sentences if self.every_expression else [sentences[np.random.randint(len(sentences))]]
            for sentence in drawn:
                check_expression(sentence)
                masks.append(mask)
                expressions.append(sentence.strip())
        view = RawView(str(path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, expressions)
