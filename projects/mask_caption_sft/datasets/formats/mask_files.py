"""Mask files: one mask, or the ids of several objects."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ...ops.mask import encode_rle
from ..remote.path import AnyPath, readable

MASK_VALUES = ('auto', 'ids', 'one')
#: In a map of ids of 8 bits: pixels that belong to no object, or to none for certain.
_VOID = 255
_RED, _GREEN = 1 << 16, 1 << 8


def read_labels(path: str | AnyPath, values: str = 'auto') -> np.ndarray:
    """The object of each pixel, ``[H, W]`` int32; 0 is background.

    Args:
        path: An image file: black and white, grey, indexed, of 16 bits, or in colours.
        values: ``'ids'``: each value (each colour, but black) is an object, and 255 none, unless it is the
            only one. ``'one'``: one object, of the pixels above half of full white (of an indexed file: above
            0). ``'auto'``: ids in indexed files, files of 16 bits and colours; one object in grey ones, which
            may then have a single value beside 0.

    Raises:
        OSError: The file cannot be read.
        ValueError: With ``'auto'``, a grey file has several values.
    """
    try:
        with Image.open(readable(path)) as file:
            is_indexed = file.mode in ('P', 'I', 'I;16', 'I;16B')
            pixels = np.asarray(file if is_indexed or file.mode in ('1', 'L') else file.convert('RGB'))
    except (OSError, SyntaxError, ValueError) as error:
        number = getattr(error, 'errno', None)
        raise OSError(number, f'{path} cannot be read as a mask ({error})') from error
    if pixels.ndim == 3 and not (pixels == pixels[..., :1]).all():
        colours = pixels.astype(np.int32) @ np.array([_RED, _GREEN, 1], np.int32)
        return (colours > 0).astype(np.int32) if values == 'one' else colours
    labels = (pixels[..., 0] if pixels.ndim == 3 else pixels).astype(np.int32)
    if values == 'one':
        half = 0 if is_indexed or labels.max(initial=0) <= 1 else 127
        return (labels > half).astype(np.int32)
    found = np.unique(labels[labels != 0])
    if values == 'auto' and not is_indexed:
        if len(found) > 1:
            raise ValueError(
                f'the mask {path} is grey with {len(found) + (labels == 0).any()} values. Set '
                "mask_values='ids' if each is an object, or 'one' if it is one mask with soft edges."
            )
        return (labels > 0).astype(np.int32)
    if len(found) > 1 and found[-1] == _VOID:
        labels[labels == _VOID] = 0
    return labels


def objects_in(labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    """The id of each object, and its mask as RLE with ``counts`` as str."""
    for value in np.unique(labels[labels != 0]).tolist():
        yield value, encode_rle(labels == value)
