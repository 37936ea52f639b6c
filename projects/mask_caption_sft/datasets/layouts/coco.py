"""A folder with COCO files."""

import mmap

from ..remote.copies import local_copy
from ..remote.path import AnyPath, RemotePath
from .finding import PICTURES, TRAIN_NAMES, VAL_NAMES, Finding, number_of

_MOST_LOOKED_AT = 200


def judge_coco(root: AnyPath, names: list[str]) -> Finding:
    """One COCO file, or one for training and one for validation."""
    result = Finding('coco', 'a JSON file with images, annotations and segmentation, and the images')
    files = [name for name in names if name.lower().endswith('.json')]
    coco = [name for name in files[:_MOST_LOOKED_AT] if holds(root / name, b'"images"', b'"annotations"')]
    with_masks = [name for name in coco if holds(root / name, b'"segmentation"')]
    count = sum(name.lower().endswith(PICTURES) for name in names)
    if with_masks:
        result.found.append(', '.join(with_masks[:5]))
    elif coco:
        result.missing.append(f'"segmentation" in {coco[0]}, which holds boxes only')
    else:
        result.missing.append('a JSON file with "images" and "annotations"')
    if count:
        result.found.append(number_of(count, 'image'))
    else:
        result.missing.append('images')
    if result.is_whole:
        _choose(result, with_masks)
    return result


def _choose(result: Finding, files: list[str]) -> None:
    if len(files) == 1:
        result.arguments = dict(ann_file=files[0])
        return
    train, val = (
        [name for name in files if any(word in name.rpartition('/')[2].lower() for word in words)]
        for words in (TRAIN_NAMES, VAL_NAMES)
    )
    if len(train) == 1 and len(val) == 1 and len(files) == 2:
        result.arguments, result.val_arguments = dict(ann_file=train[0]), dict(ann_file=val[0])
        return
    result.missing.append(
        f'a single COCO file (or one with train and one with val in its name): there are {len(files)}. Give '
        f'one of them, --data FOLDER/{files[0]} for one'
    )


def holds(path: AnyPath, *texts: bytes) -> bool:
    """Whether a file holds all of these; one on this machine is not read into memory."""
    path = local_copy(path) if isinstance(path, RemotePath) else path
    try:
        with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(text) >= 0 for text in texts)
    except (OSError, ValueError):  # not readable, or empty
        return False
