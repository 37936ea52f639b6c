"""Scenes drawn when they are needed, so that none is seen twice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from ...datasets.transforms import RawSample, RawView
from ...structures import RegionSample
from ..confusable import confusable_scene
from ..expressions import expression
from ..scene import KINDS, draw

#: Sides of the drawn images, width and height: those of the tiny world's datasets.
_SIZES = ((192, 192), (240, 180), (180, 240))


class DrawnScenes(Dataset):
    """Each item is a scene with all its things; an expression says all that is true of its thing.

    Args:
        length: Number of scenes.
        seed: With an item's number it decides what is drawn.
        pipeline: Transforms of a sample; the last is a ``PackRegions``.
        scenes: Arguments of :func:`confusable_scene`.
    """

    def __init__(
        self, length: int, seed: int, pipeline: Sequence[Any], scenes: dict[str, Any] | None = None
    ) -> None:
        self.length, self.seed, self.scenes = length, seed, scenes or {}
        self.pipeline = Compose(pipeline)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> RegionSample:
        rng = np.random.default_rng((self.seed, index))
        scene = confusable_scene(rng, **self.scenes)
        image, masks = draw(scene, *_SIZES[rng.integers(len(_SIZES))])
        texts: list[str | None] = [expression(thing, KINDS) for thing in scene.things]
        raw = RawSample('drawn', str(index), RawView(str(index), image, masks), None, texts)
        return self.pipeline({'sample': raw})['sample']
