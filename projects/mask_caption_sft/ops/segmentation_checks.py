"""Annotations are checked before pycocotools' C code, which trusts them and would crash the process."""

from typing import Any

import numpy as np

#: How far outside its image a polygon's corner may be, in lengths of the image's longer side.
_MAX_OUTSIDE = 20


def check_polygons(polygons: list[Any], height: int, width: int) -> None:
    """Raise ``ValueError`` unless polygons are flat lists of pairs of finite numbers on or near the image.

    The C code turns coordinates into 32-bit integers and allocates in proportion to a polygon's length:
    1e9, 1e300 and inf end in a segmentation fault.
    """
    margin = _MAX_OUTSIDE * max(height, width)
    for polygon in polygons:
        try:
            corners = np.asarray(polygon, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f'a polygon holds something else than numbers ({error})') from error
        if corners.ndim != 1 or len(corners) % 2:
            raise ValueError(f'a polygon of shape {corners.shape} is not a flat list of x, y pairs')
        # Written so that NaN fails.
        if not ((corners >= -margin) & (corners <= max(height, width) + margin)).all():
            raise ValueError(
                f'a polygon has coordinates from {corners.min():g} to {corners.max():g} in an image of '
                f'{width} x {height}'
            )


def check_counts(counts: Any, height: int, width: int) -> None:
    """Raise ``ValueError`` unless run lengths are not negative and fill the image exactly.

    Args:
        counts: A list of numbers, or COCO's compressed form as str or bytes.
        height, width: Of the image. The C code writes as many pixels as the counts say, wherever the
            image ends.
    """
    try:
        lengths = decompress_counts(counts) if isinstance(counts, str | bytes) else np.asarray(counts)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f'the counts of an RLE cannot be read ({error})') from error
    if lengths.ndim != 1 or lengths.dtype.kind not in 'iu':
        raise ValueError(
            f'the counts of an RLE are {lengths.dtype} of shape {lengths.shape}, not whole numbers'
        )
    if (lengths < 0).any() or (lengths > height * width).any() or lengths.sum() != height * width:
        raise ValueError(
            f'the counts of an RLE are from {lengths.min(initial=0)} to {lengths.max(initial=0)} and sum '
            f'up to {lengths.sum()}; an image of {width} x {height} needs {height * width}'
        )


def decompress_counts(counts: str | bytes) -> np.ndarray:
    """Run lengths from COCO's compressed form.

    Each number is a run of 5-bit groups, lowest first, of which all but the last have bit 0x20; 0x10 of the
    last is the sign. From the fourth on, a number is the difference to the one two before.

    Raises:
        ValueError: A character is out of range, the last number is unfinished, or one is longer than 35 bits.
    """
    text = np.frombuffer(counts.encode('ascii') if isinstance(counts, str) else counts, np.uint8)
    groups = text.astype(np.int64) - 48
    if not len(groups):
        return groups
    if (groups < 0).any() or (groups > 63).any():
        raise ValueError('a character is not of the alphabet')
    ends = np.flatnonzero((groups & 0x20) == 0)
    if not len(ends) or ends[-1] != len(groups) - 1:
        raise ValueError('the last number is unfinished')
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 7:
        raise ValueError('a number has more than 35 bits')
    place = np.arange(len(groups)) - np.repeat(starts, sizes)
    values = np.add.reduceat((groups & 0x1F) << (5 * place), starts)
    values = np.where(groups[ends] & 0x10, values - (1 << (5 * sizes)), values)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values
