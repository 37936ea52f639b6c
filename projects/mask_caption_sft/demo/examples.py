"""Examples for a page: pairs of scenes of the tiny world, drawn when they are wanted."""

from dataclasses import dataclass

import numpy as np

from ..tiny_world.confusable import confusable_pair
from ..tiny_world.expressions import expressions
from ..tiny_world.scene import draw
from ..tiny_world.writers import SIDE


@dataclass
class Example:
    """A region in two views.

    Attributes:
        image1, image2: ``[H, W, 3]`` uint8 RGB.
        mask1, mask2: ``[H, W]`` bool, the same thing in both.
        text: What a person would call it.
    """

    image1: np.ndarray
    mask1: np.ndarray
    image2: np.ndarray
    mask2: np.ndarray
    text: str


def tiny_examples(count: int = 6, seed: int = 1) -> list[Example]:
    """The first thing of so many pairs of scenes; the same arguments give the same examples."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        first, second = confusable_pair(rng)
        (image1, masks1), (image2, masks2) = (draw(scene, SIDE, SIDE) for scene in (first, second))
        text = min(expressions(first.things, 0), key=len)
        found.append(Example(image1, masks1[0], image2, masks2[0], text))
    return found
