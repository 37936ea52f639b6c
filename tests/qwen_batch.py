"""A batch of images of unlike sizes for a tiny Qwen-VL."""

import torch

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.structures import RegionBatch, RegionSample, View
from tests.qwen_bases import CELL


def qwen_view(name: str, grid: tuple[int, int], num_regions: int, seed: int) -> View:
    """Noise of so many rows and columns of cells; each region covers other ones."""
    generator, (rows, columns) = torch.Generator().manual_seed(seed), grid
    masks = torch.zeros(num_regions, 32, 32, dtype=torch.bool)
    prompts = torch.zeros(num_regions, rows, columns, dtype=torch.bool)
    for number in range(num_regions):
        masks[number, 4 * number : 4 * number + 12, 4:16] = True
        prompts[number].view(-1)[number : number + 2] = True
    pixels = torch.randint(0, 256, (rows * columns, 3, CELL, CELL), generator=generator, dtype=torch.uint8)
    raw = torch.randint(0, 256, (3, 128, 128), generator=generator, dtype=torch.uint8)
    return View(name, pixels, raw, prompts, masks)


def qwen_batch() -> RegionBatch:
    """Two regions without expressions, one with; no two images are of one size."""
    grids = [((2, 3), (3, 3)), ((4, 2), (2, 5))]
    texts: list[list[str | None]] = [[None, None], ['the red circle']]
    samples = []
    for number, (of_views, expressions) in enumerate(zip(grids, texts)):
        views = [
            qwen_view(f'{number}#{view}', grid, len(expressions), 10 * number + view)
            for view, grid in enumerate(of_views)
        ]
        dataset = 'refcoco' if expressions[0] else 'sav'
        samples.append(RegionSample(dataset, f'{number}', views[0], views[1], expressions))
    return collate_regions(samples)['batch']
