"""Instance masks in a COCO file."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from ..inside import inside
from ..remote.path import AnyPath, RemotePath
from .coco_table import COCOTable
from .instance_masks import InstanceMasks

_NUM_PROBED, _MOST_FOLDERS, _DEPTH = 20, 2000, 3


class COCOInstances(InstanceMasks):
    """The masks of an image with their class names.

    On disk (https://cocodataset.org/#format-data; LVIS and the exports of most annotation tools)::

        {ann_file}      images[id, file_name, height, width]
                        annotations[id, image_id, category_id, segmentation, iscrowd]
                        categories[id, name]
        {image_dir}/{file_name}

    ``segmentation`` is polygons, an RLE or a compressed RLE; areas are those of the masks. LVIS names its
    images by ``coco_url``. An annotation that is damaged is a broken record; the others of its image are
    used. A file with boxes only (Objects365 as released) is refused: there are no masks in it.

    Args:
        ann_file: The COCO file, below ``data_root``.
        image_dir: Folder of the images, below ``data_root``; None looks for the first images in ``data_root``
            and the folders below it, three levels deep.
        with_crowds: Use the masks of crowds (``iscrowd``) too, which cover many objects.
        kwargs: See :class:`InstanceMasks`.
    """

    LAYOUT = 'Expected a JSON file with images, annotations and categories, and the images.'
    SOURCE = 'https://cocodataset.org/#format-data'

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        image_dir: str | None = None,
        with_crowds: bool = False,
        **kwargs: Any,
    ) -> None:
        self.coco_file, self.image_dir, self.with_crowds = ann_file, image_dir, with_crowds
        super().__init__(data_root=data_root, **kwargs)

    def table_source(self) -> COCOTable:
        self.check_path(self.root / self.coco_file)
        return COCOTable(self.root, (self.coco_file,), self.with_crowds)

    def lazy_records(self):
        records = super().lazy_records()
        names = [records.selection[i]['image'] for i in range(min(_NUM_PROBED, len(records.selection)))]
        self.image_folder = self._find_images(names)
        return records

    def _find_images(self, names: list[str]) -> AnyPath:
        if self.image_dir is not None:
            return self.check_path(self.root / self.image_dir)
        for folder in islice(folders_below(self.root, self.coco_file), _MOST_FOLDERS):
            if any(path.exists() for name in names for path in places(folder, name)):
                return folder
        raise FileNotFoundError(
            f'none of the first images of {self.coco_file} ({", ".join(names[:3])}) is in {self.data_root} '
            f'or a folder below it (dataset {self.name!r}). Set image_dir in the config.'
        )

    def image_path(self, name: str) -> AnyPath:
        found = places(self.image_folder, name)
        return next((path for path in found if path.exists()), found[0])


def places(folder: AnyPath, name: str) -> list[AnyPath]:
    """Where an image may be: at its name, or at the last two parts of it, or the last one."""
    path = inside(folder, name)
    parts = PurePosixPath(name).parts
    return [path, *(folder.joinpath(*parts[-count:]) for count in (2, 1) if len(parts) > count)]


def folders_below(root: AnyPath, ann_file: str) -> Iterator[AnyPath]:
    """A folder and those below it, level by level; ones with a name that the file's name holds come first."""
    level = [root]
    for depth in range(_DEPTH + 1):
        level.sort(key=lambda path: (path.name.lower() not in ann_file.lower(), str(path)))
        yield from level
        if depth < _DEPTH:
            level = [below for path in level for below in _folders_in(path)]


def _folders_in(path: AnyPath) -> list[AnyPath]:
    if isinstance(path, RemotePath):
        return [below for below in path.iterdir(files=False) if not below.name.startswith('.')]
    try:
        with os.scandir(path) as entries:
            return [
                Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith('.')
            ]
    except OSError:
        return []
