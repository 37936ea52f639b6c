"""More draws for images of rare classes."""

import numpy as np


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
