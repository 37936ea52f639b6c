"""Reads a COCO file into the mask table."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ops.mask import to_rle, with_text_counts
from ..base import RECORD_ERRORS
from ..index.schema import MaskRows, TablePart
from ..index.source import NamedFiles
from .instance_masks import mask_columns

_NEEDED = ('images', 'annotations')


@dataclass(frozen=True)
class COCOTable(NamedFiles):
    """A COCO file; masks become RLEs.

    Attributes:
        with_crowds: Whether to list the masks of crowds.
    """

    with_crowds: bool

    KIND = 'coco'

    def arguments(self) -> dict[str, Any]:
        return {'ann_file': self.files[0], 'with_crowds': self.with_crowds}

    def read(self, names: Sequence[str]) -> TablePart:
        """All masks, by image, in the order of the images.

        Raises:
            ValueError: The file is damaged, is no COCO file, or holds boxes only.
        """
        [ann_file] = names
        content = read_coco(self.path(ann_file))
        images = {image['id']: image for image in content['images']}
        classes = {c['id']: class_text(c['name']) for c in content.get('categories', [])}
        by_image = defaultdict(list)
        rows = MaskRows()
        for number, annotation in enumerate(content['annotations']):
            if annotation.get('iscrowd') and not self.with_crowds:
                continue
            try:
                image_id = annotation['image_id']
                if image_id not in images:
                    raise ValueError(f'image {image_id} is not in images')
                by_image[image_id].append(_columns(annotation, images[image_id], classes))
            except RECORD_ERRORS as error:
                name = f'{ann_file}#annotation {annotation.get("id", f"number {number}")}'
                rows.faults.append((name, f'{type(error).__name__}: {error}'))
        for image_id in (image_id for image_id in images if image_id in by_image):
            shared = {
                'record': f'{ann_file}#image {image_id}',
                'image': file_name(images[image_id]),
                'source': ann_file,
            }
            for columns in by_image[image_id]:
                rows.add(**shared, **columns)
        return rows.part()


def read_coco(path: str | Path) -> dict[str, Any]:
    """Content of a COCO file.

    Raises:
        ValueError: It is damaged, is no COCO file, or no annotation has a mask.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except ValueError as error:
        raise ValueError(
            f'{path} is not JSON, or is cut short ({error}). Download or export it again.'
        ) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in _NEEDED):
        raise ValueError(f'{path} is no COCO file: it needs lists {" and ".join(_NEEDED)}.')
    annotations = [a for a in content['annotations'] if isinstance(a, dict)]
    if annotations and not any(a.get('segmentation') for a in annotations):
        raise ValueError(
            f'{path} has {len(annotations)} annotations and no segmentation: boxes only, as in Objects365. '
            'Make masks of the boxes (SAM 2 takes boxes), and write them as segmentation.'
        )
    return content | {'annotations': annotations}


def _columns(annotation: dict, image: dict, classes: dict[Any, str]) -> dict[str, Any]:
    segmentation = annotation['segmentation']
    if not segmentation:
        raise ValueError('the segmentation is empty')
    rle = with_text_counts(to_rle(segmentation, int(image['height']), int(image['width'])))
    name = classes.get(annotation.get('category_id'))
    return {
        **mask_columns(rle),
        'reference': str(annotation.get('id', '')),
        'predicted_iou': annotation.get('predicted_iou', 1.0),
        'stability_score': annotation.get('stability_score', 1.0),
        'label': name or str(annotation.get('category_id', '')),
        'texts': [name] if name else [],
    }


def file_name(image: dict) -> str:
    """An image's file; LVIS has only its address, of which the last two parts count."""
    if image.get('file_name'):
        return str(image['file_name'])
    return '/'.join(str(image.get('coco_url', f'image {image["id"]} has no file_name')).split('/')[-2:])


def class_text(name: Any) -> str:
    """A class's name as words: LVIS writes ``bow_(weapon)``, Objects365 ``Wild Bird``."""
    return ' '.join(re.sub(r'\(.*?\)', ' ', str(name)).replace('_', ' ').replace('/', ' or ').lower().split())
