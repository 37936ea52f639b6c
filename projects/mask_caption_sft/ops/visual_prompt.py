"""A mask on the grid of image tokens."""

import torch.nn.functional as F
from torch import Tensor


def visual_prompt_grid(masks: Tensor, grid_size: int | tuple[int, int], at_least_one: bool = True) -> Tensor:
    """Which image tokens of a tile a mask covers.

    Args:
        masks: ``[N, H, W]`` bool.
        grid_size: Side of the grid, g (16 for Sa2VA-4B), or its rows and columns.
        at_least_one: Mark the most covered cell of a mask that nearest
            sampling misses; upstream leaves its prompt empty.

    Returns:
        ``[N, g, g]`` bool, or ``[N, rows, columns]``. An empty mask has no cell in either case.

    Source: upstream Sa2VA, ``interpolate(mode='nearest')``.
    """
    size = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
    grid = F.interpolate(masks[:, None].float(), size)[:, 0].bool()
    if not at_least_one:
        return grid
    missed = ~grid.flatten(1).any(1) & masks.flatten(1).any(1)
    for row in missed.nonzero()[:, 0].tolist():
        coverage = F.adaptive_avg_pool2d(masks[row][None].float(), size)[0]
        grid[row].view(-1)[coverage.argmax()] = True
    return grid
