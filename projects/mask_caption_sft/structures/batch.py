"""A batch of regions over a batch of distinct images."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .region import BrokenRecord


@dataclass
class RegionBatch:
    """R regions over I distinct images; images are stored once.

    Attributes:
        pixel_values: ``[sum(num_tiles), 3, S, S]`` uint8 RGB, the tiles of all images; float ones
            count as ImageNet-normalised.
        num_tiles: I counts; image i owns the i-th run of ``pixel_values``.
        g_pixel_values: ``[I, 3, G, G]`` uint8 RGB.
        image_ids: Names of the I images.
        image_index1, image_index2: ``[R]`` long, the image of each region's first and
            second view.
        visual_prompts: ``[R, g, g]`` bool, each region on the grid of view 1; grids of unlike sizes are
            filled up to the largest.
        masks1, masks2: R bool masks ``[H, W]``, the ground truth in each view;
            sizes may differ between regions in validation.
        expressions: R texts or ``None``.
        datasets, sample_ids: R names, for logs and messages.
        skipped: Records that could not be read, or used, while this batch was drawn.
        grids: Rows and columns of each image's grid of prompt cells.
    """

    pixel_values: Tensor
    num_tiles: list[int]
    g_pixel_values: Tensor
    image_ids: list[str]
    image_index1: Tensor
    image_index2: Tensor
    visual_prompts: Tensor
    masks1: list[Tensor]
    masks2: list[Tensor]
    expressions: list[str | None]
    datasets: list[str]
    sample_ids: list[str]
    skipped: list[BrokenRecord] = field(default_factory=list)
    grids: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.expressions)

    def __getitem__(self, rows: list[int]) -> 'RegionBatch':
        """Some regions, and only the images that they are in."""
        index = torch.tensor(rows, dtype=torch.long, device=self.image_index1.device)
        image1, image2 = self.image_index1[index], self.image_index2[index]
        images = torch.cat([image1, image2]).unique()
        tiles = self.pixel_values.split(self.num_tiles)
        position = torch.zeros(len(self.image_ids), dtype=torch.long, device=index.device)
        position[images] = torch.arange(len(images), device=index.device)
        kept = images.tolist()
        return RegionBatch(
            pixel_values=torch.cat([tiles[image] for image in kept]) if kept else self.pixel_values[:0],
            num_tiles=[self.num_tiles[image] for image in kept],
            g_pixel_values=self.g_pixel_values[images],
            image_ids=[self.image_ids[image] for image in kept],
            image_index1=position[image1],
            image_index2=position[image2],
            visual_prompts=self.visual_prompts[index],
            masks1=[self.masks1[row] for row in rows],
            masks2=[self.masks2[row] for row in rows],
            expressions=[self.expressions[row] for row in rows],
            datasets=[self.datasets[row] for row in rows],
            sample_ids=[self.sample_ids[row] for row in rows],
            skipped=self.skipped,
            grids=[self.grids[image] for image in kept] if self.grids else [],
        )

    def with_expressions(self) -> 'RegionBatch':
        """Only the regions that have a text."""
        return self[[row for row, text in enumerate(self.expressions) if text is not None]]

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
