"""Whose caption a region gets when captions are shuffled."""

import torch
from torch import Tensor


def other_regions(image_index: Tensor) -> Tensor:
    """For each region another one, of the same image where the image has another.

    The caption of another image's region is easy to tell from the right one; that of a
    neighbour is the harder control. The regions of an image take the place of the one
    before, in a circle; a region alone in its image takes the one before it in the batch.

    Args:
        image_index: ``[R]`` long, the image of each region.

    Returns:
        ``[R]`` long, never a region's own row; -1 where there is only one region.
    """
    images = image_index.tolist()
    others = []
    for row, image in enumerate(images):
        circle = [other for other in range(len(images)) if images[other] == image]
        if len(circle) == 1:
            circle = list(range(len(images)))
        others.append(circle[circle.index(row) - 1] if len(images) > 1 else -1)
    return torch.tensor(others, dtype=torch.long, device=image_index.device)
