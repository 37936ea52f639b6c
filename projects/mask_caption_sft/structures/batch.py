"""A batch of regions over a batch of distinct images."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .region import BrokenRecord


@dataclass
class RegionBatch:
    """R regions over I distinct images; images are stored once.

    Attributes:
        pixel_values: ``[sum(num_tiles), 3, S, S]`` float, the tiles of all images.
        num_tiles: I counts; image i owns the i-th run of ``pixel_values``.
        g_pixel_values: ``[I, 3, G, G]`` uint8 RGB.
        image_ids: I names of images.
        image1, image2: ``[R]`` long, the image of each region's first and
            second view.
        visual_prompts: ``[R, g, g]`` bool, each region on the grid of view 1.
        masks1, masks2: R bool masks ``[H, W]``, the ground truth in each view;
            sizes may differ between regions in validation.
        expressions: R texts or ``None``.
        datasets, sample_ids: R names, for logs and messages.
        skipped: Records that could not be read while this batch was drawn.
    """

    pixel_values: Tensor
    num_tiles: list[int]
    g_pixel_values: Tensor
    image_ids: list[str]
    image1: Tensor
    image2: Tensor
    visual_prompts: Tensor
    masks1: list[Tensor]
    masks2: list[Tensor]
    expressions: list[str | None]
    datasets: list[str]
    sample_ids: list[str]
    skipped: list[BrokenRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.expressions)

    def _map(self, function) -> 'RegionBatch':
        tensors = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                tensors[name] = function(value)
            elif isinstance(value, list) and value and isinstance(value[0], Tensor):
                tensors[name] = [function(item) for item in value]
        return replace(self, **tensors)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> 'RegionBatch':
        """The same batch with every tensor on ``device``."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> 'RegionBatch':
        """The same batch in page-locked memory; called by the ``DataLoader``."""
        return self._map(lambda tensor: tensor.pin_memory())
