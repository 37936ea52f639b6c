"""Reads refs and instances of RefCOCO into the mask table."""

import json
import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..index.schema import MaskRows, TablePart
from ..index.source import NamedFiles
from ..remote.path import AnyPath, absolute
from .restricted_pickle import load_plain_pickle

#: Names of files with refs, in the order in which they are looked for.
REF_FILES = ('refs({}).p', 'refs({}).json', 'grefs({}).json', 'grefs({}).p')
_IS_REF_FILE = re.compile(r'g?refs\(.*\)\.(p|json)')
#: gRefCOCO's annotation id for an expression that fits nothing in the image.
NO_TARGET = -1


@dataclass(frozen=True)
class RefCOCOTable(NamedFiles):
    """A refs file, ``instances.json``, and for training all other files with refs, in this order.

    Attributes:
        split: Which part to use.
        no_target: ``'skip'`` or ``'empty'``, see :class:`RefCOCO`.
    """

    split: str
    no_target: str

    KIND = 'refcoco'

    def arguments(self) -> dict[str, Any]:
        return {'files': list(self.files[:2]), 'split': self.split, 'no_target': self.no_target}

    def read(self, names: Sequence[str]) -> TablePart:
        """The objects that people have described, by image.

        Raises:
            ValueError: A file is damaged, there is no such split, or a ref names what does not exist.
        """
        refs_name, instances_name, *others = names
        path = self.path(refs_name)
        refs = read_refs(path)
        instances = json.loads(self.path(instances_name).read_text(encoding='utf-8-sig'))
        images = {image['id']: image for image in instances['images']}
        annotations = {annotation['id']: annotation for annotation in instances['annotations']}
        splits = sorted({ref['split'] for ref in refs})
        if self.split not in splits:
            raise ValueError(f'{path} has no split {self.split!r}. Set split to one of {splits}.')
        held_out = self._held_out([refs, *(read_refs(self.path(name)) for name in others)])
        by_image: dict[int, list[dict]] = defaultdict(list)
        for ref in refs:
            self._check_ref(ref, path, images, annotations)
            wanted = self.no_target == 'empty' or not is_no_target(ref)
            if ref['split'] == self.split and ref['image_id'] not in held_out and wanted:
                by_image[ref['image_id']].append(ref)
        rows = MaskRows()
        for image_id in sorted(by_image):
            for ref in by_image[image_id]:
                _add(rows, refs_name, images[image_id], ref, annotations)
        return rows.part()

    def _held_out(self, sets: Sequence[list[dict]]) -> set[int]:
        """Images that are not trained on: those of other splits, in any set of refs."""
        if self.split != 'train':
            return set()
        return {ref['image_id'] for refs in sets for ref in refs if ref['split'] != 'train'}

    def _check_ref(self, ref: dict, path: Path, images: dict, annotations: dict) -> None:
        unknown = [i for i in annotation_ids(ref) if i not in annotations]
        problem = f'annotation {unknown[0]}' if unknown else None
        if ref['image_id'] not in images:
            problem = f'image {ref["image_id"]}'
        if problem:
            raise ValueError(
                f'{path}: ref {ref["ref_id"]} names {problem}, which is not in '
                f'{self.path(self.files[1])}. Use files of the same release.'
            )


def _add(rows: MaskRows, refs_name: str, image: dict, ref: dict, annotations: dict[int, dict]) -> None:
    named = [annotations[i] for i in annotation_ids(ref)]
    mask = json.dumps([annotation['segmentation'] for annotation in named])
    rows.add(
        record=f'{refs_name}#image {image["id"]}',
        image=image['file_name'],
        source=refs_name,
        key=zlib.crc32(mask.encode()),
        height=image.get('height'),
        width=image.get('width'),
        mask=mask,
        reference=str(ref.get('ref_id', '')),
        label=', '.join(sorted({str(annotation.get('category_id', '')) for annotation in named})),
        # What is not a text is an empty one, which makes the record a broken one when it is read.
        texts=[s['sent'] if isinstance(s['sent'], str) else '' for s in ref['sentences']],
    )


def held_out_files(root: AnyPath) -> list[str]:
    """Files with refs in a folder and in those beside it that have "refcoco" in their name, in any case."""
    # Not the parent of a link's target: the folders beside the link are meant.
    own = absolute(root)
    beside = {path for path in own.parent.iterdir() if 'refcoco' in path.name.lower() and path.is_dir()}
    paths = [path for folder in {own, *beside} for path in folder.iterdir()]
    # The folder's own files by name: it may be moved.
    found = [path for path in paths if _IS_REF_FILE.fullmatch(path.name.lower())]
    return sorted(path.name if path.parent == own else str(path) for path in found)


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
    if Path(path).suffix.lower() != '.json':
        return load_plain_pickle(path)
    try:
        return json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}). Use the refs file as released.') from error
