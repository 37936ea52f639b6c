"""Checks, by the colour of skin, whether an image's channels are in the order its format says."""

from collections.abc import Sequence

import numpy as np

#: The least share of skin-coloured pixels for an image to count, and how many times larger it has to be
#: in one order than in the other.
_LEAST_SHARE, _RATIO = 0.02, 2.0


def skin_share(image: np.ndarray) -> float:
    """Share of skin-coloured pixels in an ``[H, W, 3]`` uint8 RGB image.

    Source: the thresholds of Kovac, Peer and Solina, "Human skin colour clustering for face
    detection", EUROCON 2003, for daylight.
    """
    red, green, blue = (image[..., i].astype(np.int16) for i in range(3))
    spread = image.max(-1).astype(np.int16) - image.min(-1)
    skin = (red > 95) & (green > 40) & (blue > 20) & (spread > 15)
    skin &= (red - green > 15) & (red > blue) & (green > blue)
    return float(skin.mean())


def swap_evidence(image: np.ndarray) -> float | None:
    """Share of skin-coloured pixels with red and blue exchanged, minus the share as it is.

    Args:
        image: ``[H, W, 3]`` uint8, RGB if its channels are in the right order.

    Returns:
        Positive if the channels look swapped; None for an image that has too few skin-coloured
        pixels in either order, or gives no clear answer.
    """
    as_is, swapped = skin_share(image), skin_share(image[..., ::-1])
    if max(as_is, swapped) < _LEAST_SHARE or max(as_is, swapped) < _RATIO * min(as_is, swapped):
        return None
    return swapped - as_is


def mostly_swapped(evidence: Sequence[float]) -> bool:
    """Whether most of the images that give an answer (:func:`swap_evidence`) look swapped.

    A single image can mislead: blue sky or water looks like skin once red and blue are exchanged,
    and a sunset or wood looks like skin as it is. So at least three images must give an answer.
    """
    return len(evidence) >= 3 and sum(value > 0 for value in evidence) > 0.6 * len(evidence)
