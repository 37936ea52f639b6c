"""Which mask files belong to which image, by their names."""

import re
from collections import defaultdict
from collections.abc import Iterable

_PHOTOS, _LOSSLESS = {'jpg', 'jpeg', 'webp'}, {'png', 'bmp', 'tif', 'tiff'}
_WORD = 'masks?|seg|segmentation|gt|labels?|instances?|matte|alpha|object|obj|id'
_MASK_ENDING = re.compile(rf'[ _.\-](?:{_WORD})(?:[ _.\-]?\d+)?$', re.IGNORECASE)
_WORDS = re.compile(rf'(?:^|[ _.\-])(?:{_WORD})(?=$|[ _.\-]|\d)', re.IGNORECASE)

_FEW = 0.1

#: Mask file, and what its name adds to its image's: the object that it is of.
MaskFile = tuple[str, str]


def pair_files(
    names: Iterable[str], image_dir: str = '', mask_dir: str | None = None, is_chosen: bool = False
) -> tuple[dict[str, list[MaskFile]], list[str], list[str]]:
    """Pair the images and masks among some files.

    A mask belongs to the image that has its name without the ending, or, with something behind it, the
    longest part of its name, up to ``_``, ``-``, ``.``, a space or ``/``: ``cat.jpg`` has ``cat.png``,
    ``cat_mask.png``, ``cat_0.png``, ``cat/0.png``.

    Args:
        names: Paths below a root.
        image_dir: Folder of the images.
        mask_dir: Folder of the masks; None if they are beside the images. There a JPEG is an image, a PNG a
            mask if a JPEG has its name, and any file is a mask whose name ends in ``_mask`` or the like.
        is_chosen: These are files that belong together. Otherwise, if more than nine masks in ten have their
            image's name, the others are not taken for further masks of the image with the longest part of
            theirs: ``cat_2.png`` is that of a ``cat_2.jpg`` which is missing.

    Returns:
        The masks of each image that has any, in order; masks without an image; images without a mask.
    """
    images, masks = _sort_out(names, image_dir, mask_dir)
    by_key = {_key(name, image_dir): name for name in images}
    pairs: dict[str, list[MaskFile]] = defaultdict(list)
    lost = []
    for name in sorted(masks):
        key, part = _longest(_key(name, image_dir if mask_dir is None else mask_dir), by_key)
        if key is None:
            lost.append(name)
        else:
            pairs[by_key[key]].append((name, _WORDS.sub('', part).strip(' _.-/')))
    further = [name for files in pairs.values() for name, part in files if part]
    if further and not is_chosen and len(further) < _FEW * len(masks):
        lost = sorted([*lost, *further])
        pairs = {image: [file for file in files if not file[1]] for image, files in pairs.items()}
    found = {name: pairs[name] for name in sorted(pairs) if pairs[name]}
    return found, lost, sorted(set(images) - set(found))


def _sort_out(names: Iterable[str], image_dir: str, mask_dir: str | None) -> tuple[list[str], list[str]]:
    pictures = [name for name in names if _ending(name) in _PHOTOS | _LOSSLESS]
    if mask_dir is not None:
        masks = [name for name in pictures if _is_below(name, mask_dir)]
        inner = set(masks)
        return [n for n in pictures if n not in inner and _is_below(n, image_dir)], masks
    pictures = [name for name in pictures if _is_below(name, image_dir)]
    plain = [name for name in pictures if not _MASK_ENDING.search(_key(name, ''))]
    photos = [name for name in plain if _ending(name) in _PHOTOS]
    keys = {_key(name, ''): name for name in photos}
    images = photos + [n for n in plain if _ending(n) in _LOSSLESS and _longest(_key(n, ''), keys)[0] is None]
    return images, sorted(set(pictures) - set(images))


def _longest(key: str, by_key: dict[str, str]) -> tuple[str | None, str]:
    """The longest part of a mask's name that is an image's, and the rest."""
    if key in by_key:
        return key, ''
    for cut in reversed([match.start() for match in re.finditer(r'[ _.\-/]', key)]):
        if key[:cut] in by_key:
            return key[:cut], key[cut + 1 :]
    return None, ''


def _ending(name: str) -> str:
    return name.rpartition('.')[2].lower()


def _key(name: str, folder: str) -> str:
    return (name[len(folder) + 1 :] if folder else name).rpartition('.')[0]


def _is_below(name: str, folder: str) -> bool:
    return not folder or name.startswith(f'{folder}/')
