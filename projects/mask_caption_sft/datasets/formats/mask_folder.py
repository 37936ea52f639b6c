"""Images with masks in files of their own."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..base import RECORD_ERRORS
from ..index.listing import Listing
from ..index.schema import MaskRows, TablePart
from ..index.tree import FileTree
from ..remote.path import AnyPath, readable
from .instance_masks import InstanceMasks, mask_columns
from .mask_files import MASK_VALUES, objects_in, read_labels
from .mask_pairs import MaskFile, pair_files

#: Files of class names that are looked for below the root.
CLASS_FILES = ('classes.json', 'classes.txt', 'meta.json')
_MOST_PER_TASK, _ABOUT_PER_TASK = 1000, 250


class MaskFolder(InstanceMasks):
    """Images with one mask per file, or with files in which each value is an object.

    On disk, side by side or in twin folders (see :func:`pair_files` for how names are matched)::

        cat.jpg, cat_mask.png                       images/cat.jpg, masks/cat.png
        dog.jpg, dog_0.png, dog_1.png               images/dog.jpg, masks/dog/0.png, masks/dog/1.png

    Masks are read once, into the table. A mask that cannot be read, has another size than its image, or
    belongs to no image is a broken record. Images without a mask are not drawn.

    Args:
        image_dir: Folder of the images, below ``data_root``.
        mask_dir: Folder of the masks, below ``data_root``; None if they are beside the images.
        mask_values: What values in a mask file mean, see :func:`read_labels`.
        class_file: Names of the classes, below ``data_root``: JSON ``{"1": "cat"}``, a line per class from 1
            on, or YouTube-VOS's ``meta.json``. None takes the first of ``CLASS_FILES`` that is there. Without
            it a mask in ``cat/dog_0.png`` is of class "dog".
        kwargs: See :class:`InstanceMasks`.
    """

    LAYOUT = 'Expected images and masks with the same names, in one folder or in two (image_dir, mask_dir).'
    SOURCE = 'your own annotation'

    def __init__(
        self,
        data_root: str,
        image_dir: str = '',
        mask_dir: str | None = None,
        mask_values: str = 'auto',
        class_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        if mask_values not in MASK_VALUES:
            raise ValueError(
                f'mask_values={mask_values!r} is not one of {", ".join(map(repr, MASK_VALUES))}.'
            )
        self.image_dir, self.mask_dir = image_dir, mask_dir
        self.mask_values, self.class_file = mask_values, class_file
        super().__init__(data_root=data_root, **kwargs)

    def table_source(self) -> 'MaskFiles':
        root = self.root
        for folder in (self.image_dir, self.mask_dir or ''):
            self.check_path(root / folder)
        found = next((name for name in CLASS_FILES if (root / name).is_file()), '')
        class_file = found if self.class_file is None else self.class_file
        self.check_path(root / class_file)
        return MaskFiles(root, self.image_dir, self.mask_dir, self.mask_values, class_file)


@dataclass(frozen=True)
class MaskFiles(FileTree):
    """Reads mask files into the mask table; ``label`` is the object, ``reference`` its file.

    Attributes:
        image_dir, mask_dir, mask_values: See :class:`MaskFolder`.
        class_file: Below the root; empty for none.
    """

    image_dir: str
    mask_dir: str | None
    mask_values: str
    class_file: str

    KIND = 'mask_files'

    def arguments(self) -> dict[str, Any]:
        names = ('image_dir', 'mask_dir', 'mask_values', 'class_file')
        return {name: getattr(self, name) for name in names}

    def tasks(self, listing: Listing) -> list[list[int]]:
        """Images with their masks; where a task ends depends on names, so that a new image changes few."""
        row_of = {name: row for row, name in enumerate(listing.names)}
        shared = [row_of[self.class_file]] if self.class_file in row_of else []
        pairs, lost, _ = pair_files(listing.names, self.image_dir, self.mask_dir)
        tasks: list[list[int]] = []
        count = _MOST_PER_TASK
        for image, masks in pairs.items():
            if count >= _MOST_PER_TASK or zlib.crc32(image.encode()) % _ABOUT_PER_TASK == 0:
                tasks.append(list(shared))
                count = 0
            tasks[-1] += [row_of[name] for name in (image, *(mask for mask, _ in masks))]
            count += 1
        return [*tasks, [row_of[name] for name in lost]] if lost else tasks

    def read(self, names: Sequence[str]) -> TablePart:
        rows = MaskRows()
        classes = ClassNames(self.place(self.class_file) if self.class_file in names else None)
        pairs, lost, _ = pair_files(names, self.image_dir, self.mask_dir, is_chosen=True)
        for image, masks in pairs.items():
            try:
                with Image.open(readable(self.place(image))) as file:
                    size = (file.height, file.width)
            except RECORD_ERRORS as error:
                rows.faults.append((image, f'OSError: {image} cannot be read as an image ({error})'))
                continue
            for mask in masks:
                self._read_file(rows, image, size, mask, len(masks) > 1, classes)
        rows.faults += [(name, 'FileNotFoundError: the image of this mask is missing') for name in lost]
        return rows.part()

    def _read_file(
        self, rows: MaskRows, image: str, size: tuple[int, int], mask: MaskFile, is_one_of_many: bool,
        classes: 'ClassNames',
    ) -> None:  # fmt: skip
        name, part = mask
        try:
            labels = read_labels(self.place(name), self.mask_values)
            if labels.shape != size:
                raise ValueError(
                    f'the mask of {labels.shape[1]} x {labels.shape[0]} does not match its image of '
                    f'{size[1]} x {size[0]}'
                )
        except RECORD_ERRORS as error:
            rows.faults.append((name, f'{type(error).__name__}: {error}'))
            return
        found = list(objects_in(labels))
        for value, rle in found:
            # An object has the same label in all frames of a video, whatever else is in them.
            label = f'{part}#{value}' if part and is_one_of_many and len(found) > 1 else part or str(value)
            text = classes.of(image, label)
            rows.add(
                record=image,
                image=image,
                source=name.rpartition('/')[0],
                **mask_columns(rle),
                reference=f'{name}#{value}',
                predicted_iou=1.0,
                stability_score=1.0,
                label=label,
                texts=[text] if text else [],
            )


class ClassNames:
    """Names of objects, by their label.

    Args:
        path: See :class:`MaskFolder`; None if there is no file.

    Raises:
        ValueError: The file is neither JSON nor lines of text.
    """

    def __init__(self, path: AnyPath | None) -> None:
        self.names: dict[str, str] = {}
        self.videos: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            text = path.read_text(encoding='utf-8-sig')
            content = json.loads(text) if path.suffix.lower() == '.json' else text.splitlines()
            if isinstance(content, list):
                content = {str(number): name for number, name in enumerate(content, start=1)}
            self.videos = content.get('videos', {})
            self.names = {str(key): str(name) for key, name in content.items() if key != 'videos'}
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f'{path} holds no names of classes: JSON {{"1": "cat"}} or a line per class is needed '
                f'({error}).'
            ) from error

    def of(self, image: str, label: str) -> str | None:
        """The name of an object's class; of a label in words the label itself, without a number behind it."""
        video = self.videos.get(image.split('/')[-2] if '/' in image else '', {})
        named = video.get('objects', {}).get(label, {}).get('category')
        word = label.partition('#')[0].rstrip('0123456789 _.-')
        found = named or self.names.get(label) or (word if word.isalpha() else None)
        return None if found is None else found.replace('_', ' ').lower()
