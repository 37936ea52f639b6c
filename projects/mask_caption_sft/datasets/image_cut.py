"""How an image becomes what a ViT is given: tiles of one size, or the cells of the whole image."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from .resampling import Resizer
from .tiling import resized_tiles

#: What upstream's training and inference of the Qwen-VL kinds allow for one image.
MIN_PIXELS, MAX_PIXELS = 512 * 28 * 28, 2048 * 28 * 28


class ImageCut(Protocol):
    """A way to cut images.

    Attributes:
        setting: What a config sets to have smaller images.
    """

    setting: str

    @property
    def grid_size(self) -> int:
        """Side of a tile's grid of image tokens."""

    def pixels(self, resize: Resizer, size: tuple[int, int]) -> Tensor:
        """``[tiles, 3, S, S]`` uint8 of an RGB image of that width and height."""

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of the grid on which prompts are marked, for an image of that size."""

    def most_tiles(self) -> int:
        """The most that an image can have."""

    def most_tokens(self) -> int:
        """Of the largest image, and of a region all over its grid."""

    def setting_for(self, tokens: int) -> int:
        """The largest value of ``setting`` with which both together have no more tokens; 0 for none."""

    def largest_grid(self) -> tuple[int, int]:
        """Rows and columns of the largest image's grid."""


@dataclass(frozen=True)
class Tiles:
    """Tiles by aspect ratio and a thumbnail, on which visual prompts are marked.

    Args:
        size: Side of a tile in pixels.
        grid_size: Side of its grid of image tokens.
        max_tiles: Without the thumbnail; 1 squashes an image to one tile.
    """

    size: int
    grid_size: int
    max_tiles: int
    setting = 'max_tiles'

    def pixels(self, resize: Resizer, size: tuple[int, int]) -> Tensor:
        """See :func:`tile_image`."""
        return resized_tiles(resize, size, self.size, self.max_tiles)

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """The thumbnail's."""
        return self.grid_size, self.grid_size

    def most_tiles(self) -> int:
        """With the thumbnail."""
        return self.max_tiles + (self.max_tiles > 1)

    def most_tokens(self) -> int:
        """All tiles, and the thumbnail once more."""
        return (self.most_tiles() + 1) * self.grid_size**2

    def setting_for(self, tokens: int) -> int:
        """Two tiles are one and its thumbnail."""
        num_tiles = tokens // self.grid_size**2 - 1
        return max(num_tiles - 1 if num_tiles > 2 else min(num_tiles, 1), 0)

    def largest_grid(self) -> tuple[int, int]:
        """The thumbnail's."""
        return self.grid_size, self.grid_size


@dataclass(frozen=True)
class Cells:
    """The whole image, resized so that cells divide it: each cell is one token, and one cell of a prompt.

    Args:
        size: Side of a cell in pixels.
        min_pixels, max_pixels: Smaller images are enlarged, larger ones shrunk.

    Raises:
        ValueError: Not even one cell may be drawn, or the smallest is larger than the largest.
    """

    size: int
    min_pixels: int = MIN_PIXELS
    max_pixels: int = MAX_PIXELS
    setting = 'max_pixels'

    @property
    def grid_size(self) -> int:
        """A cell is one token."""
        return 1

    def __post_init__(self) -> None:
        if not self.size**2 <= self.max_pixels or not 0 < self.min_pixels <= self.max_pixels:
            raise ValueError(
                f'min_pixels={self.min_pixels}, max_pixels={self.max_pixels}: min_pixels must be positive '
                f'and at most max_pixels, and a cell of {self.size} x {self.size} at most max_pixels. '
                f'Upstream has {MIN_PIXELS} and {MAX_PIXELS}.'
            )

    def pixels(self, resize: Resizer, size: tuple[int, int]) -> Tensor:
        """The cells of the resized image, row by row."""
        (rows, columns), side = self.grid(*size), self.size
        whole = resize(columns * side, rows * side)
        cells = whole.unflatten(2, (columns, side)).unflatten(1, (rows, side))
        return cells.permute(1, 3, 0, 2, 4).flatten(0, 1).contiguous()

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of cells: the image's own size rounded, within the limits, its shape kept.

        Source: transformers' ``smart_resize`` of Qwen2-VL's image processor, which also refuses images that
            are 200 times as long as wide; here their shorter side is one cell.
        """
        side = self.size
        rows, columns = max(1, round(height / side)), max(1, round(width / side))
        if rows * columns * side**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            rows, columns = (max(1, math.floor(length / shrink / side)) for length in (height, width))
        elif rows * columns * side**2 < self.min_pixels:
            enlarge = math.sqrt(self.min_pixels / (height * width))
            rows, columns = (math.ceil(length * enlarge / side) for length in (height, width))
        most = self.most_tiles()
        return min(rows, most), min(columns, most)

    def most_tiles(self) -> int:
        """As many cells as ``max_pixels`` has room for."""
        return self.max_pixels // self.size**2

    def most_tokens(self) -> int:
        """All cells, twice."""
        return 2 * self.most_tiles()

    def setting_for(self, tokens: int) -> int:
        """In pixels."""
        return max(tokens // 2, 0) * self.size**2

    def largest_grid(self) -> tuple[int, int]:
        """Of an image that is about as high as wide."""
        rows = math.isqrt(self.most_tiles())
        return rows, self.most_tiles() // rows


#: What a config may choose for each kind of cut.
CHOICES = {'tiles': ('max_tiles',), 'cells': ('min_pixels', 'max_pixels')}


def image_cut(kind: str, size: int, grid_size: int, **choices: Any) -> ImageCut:
    """The cut of a kind.

    Args:
        kind: ``'tiles'`` or ``'cells'``, as the base decides.
        size, grid_size: Side of a tile or cell in pixels, and of its grid of tokens.
        choices: Values of ``CHOICES``; those of the other kind are left aside, None is the default.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in CHOICES:
        raise ValueError(f'image_cut={kind!r} is not one of {", ".join(map(repr, CHOICES))}.')
    own = {name: choices[name] for name in CHOICES[kind] if choices.get(name) is not None}
    return Tiles(size, grid_size, **own) if kind == 'tiles' else Cells(size, **own)
