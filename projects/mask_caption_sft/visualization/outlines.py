"""Outlines of masks that are seen on any ground."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

#: The true mask, and the one that a model has found. Either is bright beside :data:`CASING`, so that on any
#: ground the line, its casing or both stand out; people who confuse red and green tell yellow from cyan.
TRUE, FOUND, CASING = (255, 225, 0), (0, 235, 255), (0, 0, 0)
#: Width of a line in pixels; its casing adds one on either side.
LINE = 2


class Outline(NamedTuple):
    """A mask whose outline is drawn.

    Attributes:
        mask: ``[H, W]`` bool.
        color: RGB.
        is_outside: Whether the line runs just outside the mask instead of just inside; the outlines of two
            masks that are the same are then both seen.
    """

    mask: np.ndarray
    color: tuple[int, int, int]
    is_outside: bool = False

    def line(self) -> np.ndarray:
        """Its pixels, ``[H, W]`` bool. Beyond the image there is no mask: an outline follows the edge."""
        if self.is_outside:
            return grown(self.mask, LINE) & ~self.mask
        return self.mask & grown(~np.pad(self.mask, LINE), LINE)[LINE:-LINE, LINE:-LINE]


def outlined(image: np.ndarray, *outlines: Outline) -> np.ndarray:
    """The image with outlines, each in a black casing; no casing covers another's line.

    Args:
        image: ``[H, W, 3]`` uint8.
        outlines: Drawn in this order.
    """
    picture = image.copy()
    lines = [outline.line() for outline in outlines]
    for line in lines:
        picture[grown(line, 1)] = CASING
    for outline, line in zip(outlines, lines):
        picture[line] = outline.color
    return picture


def grown(mask: np.ndarray, width: int) -> np.ndarray:
    """A mask ``[H, W]`` bool, larger by so many pixels on every side."""
    spread = ImageFilter.MaxFilter(2 * width + 1)
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(spread)).astype(bool)
