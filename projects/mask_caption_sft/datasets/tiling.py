"""An image as ViT tiles, as upstream Sa2VA cuts it."""

import torch
from PIL import Image
from torch import Tensor

from .resampling import Resizer, pillow_resizer


def tile_grid(width: int, height: int, tile_size: int, max_tiles: int) -> tuple[int, int]:
    """Columns and rows of tiles whose aspect ratio is closest to the image's.

    On a tie the larger grid wins if the image covers more than half of it.

    Source: upstream ``find_closest_aspect_ratio``, ``hf/models/modeling_sa2va_chat.py``.
    """
    grids = {
        (columns, rows)
        for columns in range(1, max_tiles + 1)
        for rows in range(1, max_tiles + 1)
        if columns * rows <= max_tiles
    }
    best, best_difference = (1, 1), float('inf')
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(width / height - columns / rows)
        if difference < best_difference:
            best, best_difference = (columns, rows), difference
        elif difference == best_difference and width * height > 0.5 * tile_size**2 * columns * rows:
            best = (columns, rows)
    return best


def tile_image(image: Image.Image, tile_size: int, max_tiles: int) -> Tensor:
    """Tiles ``[tiles, 3, S, S]`` uint8; if there are several, the thumbnail follows them.

    Args:
        image: RGB.
        tile_size: S, in pixels.
        max_tiles: Largest number of tiles, not counting the thumbnail; 1 squashes the image to one tile.
    """
    return resized_tiles(pillow_resizer(image), image.size, tile_size, max_tiles)


def resized_tiles(resize: Resizer, size: tuple[int, int], tile_size: int, max_tiles: int) -> Tensor:
    """As :func:`tile_image`, of an image of this width and height."""
    columns, rows = tile_grid(*size, tile_size, max_tiles)
    whole = resize(columns * tile_size, rows * tile_size)
    tiles = whole.unflatten(2, (columns, tile_size)).unflatten(1, (rows, tile_size))
    tiles = tiles.permute(1, 3, 0, 2, 4).flatten(0, 1)
    if len(tiles) > 1:
        tiles = torch.cat([tiles, resize(tile_size, tile_size)[None]])
    return tiles.contiguous()


def grounding_pixels(image: Image.Image, size: int) -> Tensor:
    """The image squashed to ``[3, size, size]`` uint8, bicubic, no padding."""
    return pillow_resizer(image)(size, size).contiguous()
