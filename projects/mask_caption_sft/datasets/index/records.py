"""Records that are made from an index as they are drawn, instead of being held in memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .mask_filter import MaskFilter
from .mask_index import MaskIndex


class IndexedRecords(Sequence):
    """Records of those images in an index that have a mask which passes a filter.

    Args:
        index: Where the masks are listed.
        images: ``[U]`` positions of images in the index; an image may occur more than once.
        mask_filter: Which masks of an image its record holds.
        make_record: ``(name of the image, positions of its passing masks) -> record``.
    """

    def __init__(
        self,
        index: MaskIndex,
        images: np.ndarray,
        mask_filter: MaskFilter,
        make_record: Callable[[str, list[int]], dict[str, Any]],
    ) -> None:
        self.mask_index, self.images = index, images
        self.mask_filter, self.make_record = mask_filter, make_record

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number):
        image = int(self.images[number])
        rows = self.mask_index.passing(image, self.mask_filter)
        return self.make_record(
            self.mask_index.names[image], self.mask_index.columns['position'][rows].tolist()
        )


def repeat_rare(
    image_of: np.ndarray, label_of: np.ndarray, threshold: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    r"""How often to draw each image so that rare classes occur more often.

    .. math:: r(image) = \max_{c \in image} \max(1, \sqrt{t / f(c)})

    with :math:`f(c)` the share of images that hold class c. The fractional part of r is the
    chance of one more draw.

    Args:
        image_of, label_of: ``[M]`` image and class of each mask.
        threshold: t; classes with a larger share are not repeated.
        seed: Seed of that chance.

    Returns:
        The images that occur and their counts, ``[U]`` each, in order.

    Source:
        LVIS (arXiv:1908.03195), section 3.1; MMEngine's ``ClassBalancedDataset``.
    """
    images, position = np.unique(image_of, return_inverse=True)
    pairs = np.unique(np.stack([position, label_of], axis=1), axis=0)
    _, label_position, images_with = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    factor = np.maximum(1.0, np.sqrt(threshold * len(images) / images_with))
    repeats = np.ones(len(images))
    np.maximum.at(repeats, pairs[:, 0], factor[label_position])
    whole = np.floor(repeats)
    extra = np.random.default_rng(seed).random(len(images)) < repeats - whole
    return images, (whole + extra).astype(np.int64)
