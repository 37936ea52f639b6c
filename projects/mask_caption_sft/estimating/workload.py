"""The largest step that a config's data allow."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode

from ..datasets.formats.refcoco import RefCOCO
from ..datasets.transforms import ChooseRegions, PackRegions
from ..engine.base_sizes import declared, packers
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..sa2va.sa2va import Sa2VA
from ..structures import RegionBatch

_DEFAULT_REGIONS = 4
_EXPRESSION = 'small red thing at the top'


@dataclass(frozen=True)
class Workload:
    """Sizes of one step on one GPU.

    Attributes:
        batch_size: Pairs of views.
        num_regions: Of each.
        num_captions: K.
        num_tiles: Of each view, thumbnail included.
        num_recomputed: The language model's layers that run again in the backward pass.
        grid: Rows and columns on which a view's prompts are marked.
        expression_ratio: The share of the pairs whose regions have human expressions.
        with_expressions: Their datasets.
    """

    batch_size: int
    num_regions: int
    num_captions: int
    num_tiles: int
    grid: tuple[int, int]
    num_recomputed: int = 0
    expression_ratio: float = 0.0
    with_expressions: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config, model: MaskCaptionSFT, num_recomputed: int) -> 'Workload':
        """Every image in all its tiles, with as many regions as may be drawn."""
        loader = config.train_dataloader
        packs = [transform for _, transform in packers(loader, 'train_dataloader')]
        sizes = asdict(model.student.sizes)
        cuts = [PackRegions.cut_of(sizes | dict(pack)) for pack in packs]
        cut = max(cuts, key=lambda cut: cut.most_tiles())
        grid = cut.largest_grid()
        chosen = [c.get('max_regions') for _, c in declared(loader, 'train_dataloader', ChooseRegions)]
        shares = _shares(loader.dataset.get('datasets') or {})
        spoken = {name: share for name, (share, speaks) in shares.items() if speaks}
        return cls(
            batch_size=loader.batch_size,
            num_regions=max((count or _DEFAULT_REGIONS for count in chosen), default=_DEFAULT_REGIONS),
            num_captions=model.num_captions,
            num_tiles=grid[0] * grid[1] if cut.setting == 'max_pixels' else cut.most_tiles(),
            grid=grid,
            num_recomputed=num_recomputed,
            expression_ratio=sum(spoken.values()),
            with_expressions=tuple(spoken),
        )

    def in_words(self) -> str:
        """What is assumed."""
        spoken = ', '.join(self.with_expressions) or 'none'
        return (
            f'{self.batch_size} pair(s) of views per GPU, each view in {self.num_tiles} tile(s), '
            f'{self.num_regions} region(s) each, {self.num_captions} caption(s) per described region, all of '
            f'the longest length, taught and past the gate. Human expressions in {self.expression_ratio:.0%} '
            f'of the pairs ({spoken}); datasets that do not declare them count as without.'
        )


def _shares(datasets: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    """Each dataset's share of the draws by its weight, and whether people have described its regions."""
    kept = {name: dataset for name, dataset in datasets.items() if dataset is not None}
    total = sum(dataset.get('weight', 1.0) for dataset in kept.values())
    return {name: (dataset.get('weight', 1.0) / total, _speaks(dataset)) for name, dataset in kept.items()}


def _speaks(dataset: dict[str, Any]) -> bool:
    is_refcoco = any(True for key, _ in declared(dataset, '', RefCOCO) if key == '')
    return is_refcoco or bool(dataset.get('class_name_as_expression'))


def batch_of(workload: Workload, student: Sa2VA, mode: FakeTensorMode, speaks: bool) -> RegionBatch:
    """A batch whose pixels have no values.

    Args:
        workload: Its sizes.
        student: Whose inputs it fits.
        mode: Makes the pixels.
        speaks: Whether every region has a human expression, or none.
    """
    sizes, num_images = student.sizes, 2 * workload.batch_size
    first = 2 * torch.arange(workload.batch_size).repeat_interleave(workload.num_regions)
    side, (rows, columns) = sizes.mask_size, workload.grid
    num_cells, num_regions = rows * columns, len(first)
    order = torch.arange(num_cells) - torch.arange(num_regions)[:, None]
    cells = order.remainder(num_cells) < max(1, num_cells // 10)  # each region marks cells of its own
    masks = torch.zeros(num_regions, side, side, dtype=torch.bool)
    masks[:, : side // 8, : side // 8] = True
    tiles = workload.num_tiles * num_images
    with mode:
        pixels = torch.zeros(tiles, 3, sizes.image_size, sizes.image_size, dtype=torch.uint8)
        grounding = torch.zeros(num_images, 3, sizes.grounding_size, sizes.grounding_size, dtype=torch.uint8)
    names = [f'region{row}' for row in range(num_regions)]
    return RegionBatch(
        pixel_values=pixels,
        num_tiles=[workload.num_tiles] * num_images,
        g_pixel_values=grounding,
        image_ids=[f'image{image}' for image in range(num_images)],
        image_index1=first,
        image_index2=first + 1,
        visual_prompts=cells.view(-1, rows, columns),
        masks1=list(masks),
        masks2=list(masks.clone()),
        expressions=[_EXPRESSION if speaks else None] * num_regions,
        datasets=['estimate'] * num_regions,
        sample_ids=names,
        grids=[workload.grid] * num_images,
    )
