"""An image as ViT tiles, as upstream Sa2VA cuts it."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


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
    columns, rows = tile_grid(*image.size, tile_size, max_tiles)
    resized = image.resize((columns * tile_size, rows * tile_size), Image.Resampling.BICUBIC)
    tiles = [
        resized.crop((x * tile_size, y * tile_size, (x + 1) * tile_size, (y + 1) * tile_size))
        for y in range(rows)
        for x in range(columns)
    ]
    if len(tiles) > 1:
        tiles.append(image.resize((tile_size, tile_size), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(np.stack([np.asarray(tile) for tile in tiles]))
    return pixels.permute(0, 3, 1, 2).contiguous()


def grounding_pixels(image: Image.Image, size: int) -> Tensor:
    """The image squashed to ``[3, size, size]`` uint8, bicubic, no padding."""
    squashed = image.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(squashed)).permute(2, 0, 1).contiguous()
