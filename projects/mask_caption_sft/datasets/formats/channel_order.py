"""Are an image's channels in the order that its format says? Skin tells."""

from collections.abc import Sequence

import numpy as np

#: Share of skin-like pixels that makes an image count, and how much one order has to outweigh the other.
_LEAST_SHARE, _RATIO = 0.02, 2.0


def skin_share(image: np.ndarray) -> float:
    """Share of pixels with the colour of skin, for ``[H, W, 3]`` uint8 RGB.

    Source: the thresholds of Kovac, Peer and Solina, "Human skin colour clustering for face
    detection", EUROCON 2003, for daylight.
    """
    red, green, blue = (image[..., i].astype(np.int16) for i in range(3))
    spread = image.max(-1).astype(np.int16) - image.min(-1)
    skin = (red > 95) & (green > 40) & (blue > 20) & (spread > 15)
    skin &= (red - green > 15) & (red > blue) & (green > blue)
    return float(skin.mean())


def swap_evidence(image: np.ndarray) -> float | None:
    """Skin-like share with red and blue exchanged, minus the share as it is.

    Args:
        image: ``[H, W, 3]`` uint8, RGB if all is well.

    Returns:
        Positive where the channels look swapped; None for an image without skin-like
        pixels in either order, or without a clear answer.
    """
    as_is, swapped = skin_share(image), skin_share(image[..., ::-1])
    if max(as_is, swapped) < _LEAST_SHARE or max(as_is, swapped) < _RATIO * min(as_is, swapped):
        return None
    return swapped - as_is


def mostly_swapped(evidence: Sequence[float]) -> bool:
    """Whether most of the images that have an answer (:func:`swap_evidence`) look swapped.

    A blue sky or water looks like skin when red and blue are exchanged, a sunset or wood does
    as it is: single images deceive, so that at least three have to say so.
    """
    return len(evidence) >= 3 and sum(value > 0 for value in evidence) > 0.6 * len(evidence)
