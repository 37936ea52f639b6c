"""Folders of images and mask files: single images, and videos."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..formats.mask_folder import CLASS_FILES
from ..formats.mask_pairs import MaskFile, pair_files
from ..remote.path import AnyPath, readable
from .finding import PICTURES, TRAIN_NAMES, VAL_NAMES, Finding, number_of

_IMAGE_DIRS = {'images', 'image', 'imgs', 'img', 'jpegimages', 'rgb', 'frames', 'photos', 'input', 'inputs'}
_MASK_DIRS = {
    'masks', 'mask', 'annotations', 'annotation', 'segmentationobject', 'segmentations', 'segmentation',
    'labels', 'label', 'gt', 'groundtruth', 'ground_truth', 'instances', 'targets',
}  # fmt: skip
_FRAME = re.compile(r'\D*\d{3,}')
_NUM_SAMPLED, _MOST_GREYS = 20, 32

#: Folder of the images, folder of the masks; None: they are beside the images.
Twins = tuple[str, str | None]
Pairs = dict[str, list[MaskFile]]


def judge_masks(root: AnyPath, names: list[str]) -> list[Finding]:
    """A folder of masks, and videos with frame-wise masks; one that could be either is both."""
    folder = Finding('mask_folder', 'images/ and masks/ with the same names, or cat.jpg beside cat_mask.png')
    video = Finding(
        'mask_video',
        'JPEGImages/{video}/{frame}.jpg and Annotations/{video}/{frame}.png (DAVIS, YouTube-VOS)',
    )
    pictures = [name for name in names if name.lower().endswith(PICTURES)]
    twins, val = _choose(folder, pictures)
    if twins is None:
        return [folder, replace(video, found=folder.found, missing=list(folder.missing))]
    pairs, lost, without = pair_files(pictures, *twins)
    arguments = {'image_dir': twins[0], 'mask_dir': twins[1], 'mask_values': _values(root, pairs)}
    class_files = [name for name in names if name.rpartition('/')[2] in CLASS_FILES]
    if class_files:
        arguments['class_file'] = class_files[0]
    said = [
        f'{number_of(len(pairs), "image")} with {number_of(sum(map(len, pairs.values())), "mask file")}'
        + (f' ({where(twins)})' if twins[1] else ', side by side')
    ]
    said += [f'{number_of(len(without), "image")} without a mask, left out'] if without else []
    said += [f'{number_of(len(lost), "mask")} without an image'] if lost else []
    if arguments['mask_values'] != 'auto':
        said.append(f'grey masks with several values, read as mask_values={arguments["mask_values"]!r}')
    for finding in (folder, video):
        finding.found, finding.arguments = list(said), dict(arguments)
        if val is not None:
            finding.val_arguments = {**arguments, 'image_dir': val[0], 'mask_dir': val[1]}
    _tell_apart(folder, video, pairs, twins)
    return [folder, video]


def where(twins: Twins) -> str:
    """Folders of images and masks as text."""
    return f'{twins[0] or "."} and {twins[1]}'


def _tell_apart(folder: Finding, video: Finding, pairs: Pairs, twins: Twins) -> None:
    """Say what is missing in the one that it is not."""
    depth = len(twins[0].split('/')) if twins[0] else 0
    frames = Counter(
        name.rpartition('/')[0]
        for name, masks in pairs.items()
        if _FRAME.fullmatch(Path(name).stem)
        and len(masks) == 1
        and not masks[0][1]
        and name.count('/') > depth
    )
    videos = [name for name, count in frames.items() if count > 1]
    if not videos or sum(frames[name] for name in videos) * 2 < len(pairs):
        video.missing.append('a folder per video with numbered frames, two of them annotated')
        return
    video.found.insert(0, number_of(len(videos), 'video'))
    video.arguments.setdefault('frame_distance', _distance(pairs, videos))
    if {part.lower() for part in twins[0].split('/')} & {'jpegimages'}:
        folder.missing.append('names other than JPEGImages/{video}/{frame}, which are those of videos')


def _distance(pairs: Pairs, videos: list[str]) -> tuple[int, int]:
    """A range of frame distances that these videos have: (5, 60), or less in short ones."""
    spans = []
    for video in videos[:200]:
        numbers = [int(re.findall(r'\d+', Path(n).stem)[-1]) for n in pairs if n.rpartition('/')[0] == video]
        spans.append(max(numbers) - min(numbers))
    longest = max(spans)
    return (5, 60) if longest >= 10 else (1, max(1, longest))


def _choose(result: Finding, pictures: list[str]) -> tuple[Twins | None, Twins | None]:
    """Folders to train on, and to validate on if there are any; says in ``result`` what is missing."""
    if not pictures:
        result.missing.append('images')
        return None, None
    result.found.append(number_of(len(pictures), 'picture'))
    found = [twins for twins in _twins(pictures) if pair_files(pictures, *twins)[0]]
    if not found and not _twins(pictures) and pair_files(pictures)[0]:
        found = [('', None)]
    if not found:
        result.missing.append(
            'masks whose names are those of images (cat.jpg: masks/cat.png, or cat_mask.png)'
        )
        return None, None
    if len(found) == 1:
        return _own_split(pictures, found[0])
    train, val = (
        [twins for twins in found if twins[0].split('/')[0].lower() in words]
        for words in (TRAIN_NAMES, VAL_NAMES)
    )
    if len(train) == 1 and len(val) == 1:
        return train[0], val[0]
    listed = '; '.join(map(where, found[:5]))
    result.missing.append(f'a single pair of folders (there are {listed}): give a folder further down')
    return None, None


def _twins(pictures: list[str]) -> list[Twins]:
    """Folders of images and of masks side by side, by their names."""
    images: set[str] = set()
    masks: set[str] = set()
    for folder in {name.rpartition('/')[0] for name in pictures}:
        parts = folder.split('/')
        for end, part in enumerate(parts, start=1):
            for names, found in ((_IMAGE_DIRS, images), (_MASK_DIRS, masks)):
                if part.lower() in names:
                    found.add('/'.join(parts[:end]))
    return sorted(
        (image, mask)
        for image in images
        for mask in masks
        if image.rpartition('/')[0] == mask.rpartition('/')[0]
    )


def _own_split(pictures: list[str], twins: Twins) -> tuple[Twins, Twins | None]:
    """Twins that are divided further, ``images/train`` and ``images/val``."""
    found = []
    for words in (TRAIN_NAMES, VAL_NAMES):
        for word in words:
            below = [_join(folder, word) if folder is not None else None for folder in twins]
            if all(f is None or any(n.startswith(f'{f}/') for n in pictures) for f in below):
                found.append((below[0] or '', below[1]))
                break
    return (found[0], found[1]) if len(found) == 2 else (twins, None)


def _join(folder: str, name: str) -> str:
    return f'{folder}/{name}' if folder else name


def _values(root: AnyPath, pairs: Pairs) -> str:
    """``mask_values`` for these masks, by up to 20 of them that are grey: ids, or soft edges."""
    files = [mask for masks in pairs.values() for mask, _ in masks]
    rows = np.unique(np.linspace(0, len(files) - 1, min(len(files), _NUM_SAMPLED)).astype(int)).tolist()
    for row in rows:
        try:
            with Image.open(readable(root / files[row])) as file:
                pixels = np.asarray(file) if file.mode == 'L' else np.zeros(0, np.uint8)
        except (OSError, SyntaxError, ValueError):
            continue
        greys, counts = np.unique(pixels[pixels > 0], return_counts=True)
        if len(greys) > 1:
            is_soft = len(greys) > _MOST_GREYS or counts[greys >= 250].sum() * 2 > counts.sum()
            return 'one' if is_soft else 'ids'
    return 'auto'
