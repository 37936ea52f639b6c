"""Turns samples into a batch; an image that occurs twice is stored once."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..structures import BrokenRecord, RegionBatch, RegionSample, View


def collate_regions(samples: Sequence[RegionSample | BrokenRecord]) -> dict[str, RegionBatch]:
    """Flatten samples of N regions each into one :class:`RegionBatch`, as ``dict(batch=...)``.

    Broken records go to ``batch.skipped``. If all records are broken, the batch has no
    region and no image, and the model's losses are zero.
    """
    good = [sample for sample in samples if isinstance(sample, RegionSample)]
    skipped = [record for sample in samples for record in sample.instead_of]
    skipped += [sample for sample in samples if isinstance(sample, BrokenRecord)]
    if not good:
        return {'batch': _empty_batch(skipped)}
    views: dict[str, View] = {}
    for sample in good:
        for view in (sample.view1, sample.view2):
            views.setdefault(view.image_id, view)
    position = {image_id: i for i, image_id in enumerate(views)}
    batch = RegionBatch(
        pixel_values=torch.cat([view.pixel_values for view in views.values()]),
        num_tiles=[len(view.pixel_values) for view in views.values()],
        g_pixel_values=torch.stack([view.g_pixel_values for view in views.values()]),
        image_ids=list(views),
        image_index1=_per_region(good, [position[s.view1.image_id] for s in good]),
        image_index2=_per_region(good, [position[s.view2.image_id] for s in good]),
        visual_prompts=_on_one_grid([s.view1.visual_prompts for s in good]),
        masks1=[mask for s in good for mask in s.view1.masks],
        masks2=[mask for s in good for mask in s.view2.masks],
        expressions=[expression for s in good for expression in s.expressions],
        datasets=[s.dataset for s in good for _ in s.expressions],
        sample_ids=[s.sample_id for s in good for _ in s.expressions],
        skipped=skipped,
        grids=[_grid(view) for view in views.values()],
    )
    return {'batch': batch}


def _grid(view: View) -> tuple[int, int]:
    rows, columns = view.visual_prompts.shape[-2:]
    return rows, columns


def _on_one_grid(prompts: Sequence[Tensor]) -> Tensor:
    """Prompts on grids of any sizes, filled up on the right and below to the largest."""
    rows, columns = (max(grid.shape[axis] for grid in prompts) for axis in (-2, -1))
    filled = [pad(grid, (0, columns - grid.shape[-1], 0, rows - grid.shape[-2])) for grid in prompts]
    return torch.cat(filled)


def _per_region(samples: Sequence[RegionSample], values: list[int]) -> Tensor:
    counts = torch.tensor([len(sample) for sample in samples])
    return torch.tensor(values).repeat_interleave(counts)


def _empty_batch(skipped: list[BrokenRecord]) -> RegionBatch:
    none = torch.zeros(0, dtype=torch.long)
    pixels = torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
    return RegionBatch(
        pixel_values=pixels,
        num_tiles=[],
        g_pixel_values=pixels.clone(),
        image_ids=[],
        image_index1=none,
        image_index2=none.clone(),
        visual_prompts=torch.zeros(0, 1, 1, dtype=torch.bool),
        masks1=[],
        masks2=[],
        expressions=[],
        datasets=[],
        sample_ids=[],
        skipped=skipped,
    )
