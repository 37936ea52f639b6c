"""RefCOCO, RefCOCO+, RefCOCOg, and gRefCOCO."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ...ops.mask import decode_segmentation
from ...ops.prompts import check_expression
from ..base import RegionDataset, read_image
from ..inside import inside
from ..transforms import RawSample, RawView
from .restricted_pickle import load_plain_pickle

#: Where images are looked for, relative to ``data_root``: the layouts of Sa2VA, refer and plain folders.
IMAGE_DIRS = (
    'coco2014/train2014', 'train2014', 'images/train2014', 'images/mscoco/images/train2014',
    '../coco2014/train2014', '../train2014', '../images/mscoco/images/train2014', 'images', '.',
)  # fmt: skip
_REF_FILES = ('refs({}).p', 'refs({}).json', 'grefs({}).json', 'grefs({}).p')
#: gRefCOCO's annotation id for an expression that fits nothing in the image.
NO_TARGET = -1


class RefCOCO(RegionDataset):
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

    def list_records(self) -> list[dict]:
        root = Path(self.data_root)
        refs_path = self._refs_path()
        self.image_folder = str(self._find_images())
        refs = read_refs(refs_path)
        instances = json.loads(self.check_path(root / 'instances.json').read_text())
        images = {image['id']: image for image in instances['images']}
        annotations = {annotation['id']: annotation for annotation in instances['annotations']}
        splits = sorted({ref['split'] for ref in refs})
        if self.split not in splits:
            raise ValueError(f'{refs_path} has no split {self.split!r}. Set split to one of {splits}.')
        held_out = self._held_out_images() if self.split == 'train' else set()
        by_image: dict[int, list[dict]] = defaultdict(list)
        for ref in refs:
            self._check_ref(ref, refs_path, images, annotations)
            wanted = self.no_target == 'empty' or not is_no_target(ref)
            if ref['split'] == self.split and ref['image_id'] not in held_out and wanted:
                by_image[ref['image_id']].append(ref)
        return [
            self._record(refs_path, images[image_id], by_image[image_id], annotations)
            for image_id in sorted(by_image)
        ]

    def _refs_path(self) -> Path:
        names = [name.format(self.split_by) for name in _REF_FILES]
        found = [path for name in names if (path := Path(self.data_root) / name).exists()]
        return found[0] if found else self.check_path(Path(self.data_root) / names[0])

    def _find_images(self) -> Path:
        if self.image_dir is not None:
            return self.check_path(Path(self.data_root) / self.image_dir)
        for name in IMAGE_DIRS:
            folder = Path(self.data_root) / name
            if folder.is_dir() and next(folder.glob('*.jpg'), None) is not None:
                return folder
        return self.check_path(Path(self.data_root) / IMAGE_DIRS[0])

    def _check_ref(self, ref: dict, path: Path, images: dict, annotations: dict) -> None:
        unknown = [i for i in annotation_ids(ref) if i not in annotations]
        problem = f'annotation {unknown[0]}' if unknown else None
        if ref['image_id'] not in images:
            problem = f'image {ref["image_id"]}'
        if problem:
            raise ValueError(
                f'{path}: ref {ref["ref_id"]} names {problem}, which is not in '
                f'{Path(self.data_root) / "instances.json"}. Use files of the same release.'
            )

    @staticmethod
    def _record(path: Path, image: dict, refs: list[dict], annotations: dict[int, dict]) -> dict[str, Any]:
        objects = [
            (
                [annotations[i]['segmentation'] for i in annotation_ids(ref)],
                [s['sent'] for s in ref['sentences']],
            )
            for ref in refs
        ]
        return {'sample_id': f'{path}#image {image["id"]}', 'image': image, 'objects': objects}

    def _held_out_images(self) -> set[int]:
        """Images of the validation and test splits, in this set and in those beside it."""
        root = Path(self.data_root)
        folders = {root, *root.parent.glob('*refcoco*')}
        patterns = [name.format('*') for name in _REF_FILES]
        files = sorted(path for folder in folders for pattern in patterns for path in folder.glob(pattern))
        held_out = {ref['image_id'] for path in files for ref in read_refs(path) if ref['split'] != 'train'}
        names = ', '.join(f'{path.parent.name}/{path.name}' for path in files)
        print_log(f'{self.name}: images of held-out splits are left out, according to {names}.', 'current')
        return held_out

    def read_record(self, record: dict) -> RawSample:
        info = record['image']
        path = inside(self.image_folder, info['file_name'])
        image = read_image(path)
        height, width = image.shape[:2]
        if (height, width) != (info['height'], info['width']):
            raise ValueError(
                f'{path.name} is {width} x {height}, instances.json says {info["width"]} x {info["height"]}'
            )
        masks, expressions, absent = [], [], []
        for segmentations, sentences in record['objects']:
            mask = np.zeros((height, width), bool)
            for segmentation in segmentations:
                mask |= decode_segmentation(segmentation, height, width)
            drawn = sentences if self.every_expression else [sentences[np.random.randint(len(sentences))]]
            for sentence in drawn:
                check_expression(sentence)
                masks.append(mask)
                expressions.append(sentence.strip())
                absent.append(not segmentations)
        view = RawView(str(path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, expressions, absent)


def annotation_ids(ref: dict) -> list[int]:
    """The annotations that a ref names; none for an expression that fits nothing."""
    ids = ref['ann_id'] if isinstance(ref['ann_id'], list | tuple) else [ref['ann_id']]
    return [] if is_no_target(ref) else list(ids)


def is_no_target(ref: dict) -> bool:
    """Whether a ref's expression fits nothing in the image."""
    return ref['ann_id'] in (NO_TARGET, [NO_TARGET], (NO_TARGET,), [])


def read_refs(path: str | Path) -> list[dict]:
    """Refs from a pickle of plain containers or from a JSON file.

    Raises:
        ValueError: The file is damaged, or its pickle would run code.
    """
    if Path(path).suffix != '.json':
        return load_plain_pickle(path)
    try:
        return json.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}). Use the refs file as released.') from error
