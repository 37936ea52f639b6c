"""The sizes of images, grids and masks that a base's ``config.json`` decides."""

from dataclasses import dataclass
from typing import Any

from ..backbones import backbone_of
from .architecture import sam2_sizes


@dataclass(frozen=True)
class BaseSizes:
    """What the data have to fit.

    Attributes:
        image_size: Side of a ViT tile in pixels.
        grid_size: Side of a tile's grid of image tokens.
        grounding_size: Side of SAM 2's input in pixels.
        max_context: The longest sequence of tokens that the language model takes.
    """

    image_size: int
    grid_size: int
    grounding_size: int
    max_context: int


def base_sizes(config: dict[str, Any]) -> BaseSizes:
    """Sizes of a base.

    Args:
        config: Content of its ``config.json``.

    Raises:
        ValueError: No image of such a size goes through the encoders.
    """
    backbone = backbone_of(config)
    image_size, grid_size = backbone.image_size, backbone.grid_size
    sam2 = sam2_sizes(config)
    # SAM 2 tiles a window's positional embedding over the features, which are a quarter of the image's size.
    multiple = 4 * sam2['window_spec'][0]
    if sam2['image_size'] % multiple:
        raise ValueError(
            f"a grounding size of {sam2['image_size']} cannot be divided into SAM 2's windows; it has to be "
            f'a multiple of {multiple}. Released checkpoints have 1024.'
        )
    return BaseSizes(image_size, grid_size, sam2['image_size'], backbone.max_context)
