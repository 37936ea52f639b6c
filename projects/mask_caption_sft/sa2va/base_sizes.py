"""The sizes of images, grids and masks that a base's ``config.json`` decides."""

from dataclasses import dataclass
from typing import Any

from ..backbones import backbone_of
from ..grounding import grounding_kind_of


@dataclass(frozen=True)
class BaseSizes:
    """What the data have to fit.

    Attributes:
        image_size: Side of a ViT tile in pixels, or of a cell of an image that is taken whole.
        grid_size: Side of a tile's grid of image tokens; 1 for a cell.
        grounding_size: Side of the grounding encoder's input in pixels.
        max_context: The longest sequence of tokens that the language model takes.
        mask_size: Side of the masks that the grounding encoder draws.
        image_cut: ``'tiles'`` or ``'cells'``, see datasets/image_cut.py.
    """

    image_size: int
    grid_size: int
    grounding_size: int
    max_context: int
    mask_size: int
    image_cut: str = 'tiles'


def base_sizes(config: dict[str, Any]) -> BaseSizes:
    """Sizes of a base.

    Args:
        config: Content of its ``config.json``.

    Raises:
        ValueError: No image of such a size goes through the encoders.
    """
    backbone, grounding = backbone_of(config), grounding_kind_of(config)
    return BaseSizes(
        image_size=backbone.image_size,
        grid_size=backbone.grid_size,
        grounding_size=grounding.image_size,
        max_context=backbone.max_context,
        mask_size=grounding.mask_size,
        image_cut=backbone.image_cut,
    )
