"""Images of any size as cells, compared with transformers' own resizing; tiles stay what they were."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessor

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.image_cut import MAX_PIXELS, MIN_PIXELS, Cells, Tiles, image_cut
from projects.mask_caption_sft.datasets.raw_sample import RawSample, RawView
from projects.mask_caption_sft.datasets.resampling import pillow_resizer
from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.structures import RegionSample, View
from projects.mask_caption_sft.visualization.sample_sheet import _whole

#: In the module of the processor, which is another one in transformers 5.
smart_resize = sys.modules[Qwen2VLImageProcessor.__module__].smart_resize


@pytest.mark.parametrize('side', [28, 32])
def test_the_size_is_that_of_transformers(side):
    cut, random = Cells(side), np.random.default_rng(0)
    for width, height in [(640, 480), (28, 28), *random.integers(20, 4000, (300, 2)).tolist()]:
        expected = smart_resize(height, width, side, MIN_PIXELS, MAX_PIXELS)
        assert tuple(side * length for length in cut.grid(width, height)) == expected, (width, height)
        rows, columns = cut.grid(width, height)
        assert rows * columns <= cut.most_tiles()


def test_an_image_that_transformers_refuses_is_one_cell_high():
    assert Cells(32).grid(100_000, 40) == (1, Cells(32).most_tiles())


def test_cells_are_the_image_row_by_row():
    cut = Cells(8, 6 * 64, 6 * 64)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8))
    cells = cut.pixels(pillow_resizer(image), image.size)
    assert cells.dtype == torch.uint8
    assert cells.shape == (6, 3, 8, 8)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(cells[4], pixels[:, 8:16, 8:16])
    view = View('', cells, pixels, torch.zeros(1, 2, 3, dtype=torch.bool), torch.zeros(1, 4, 4))
    assert torch.equal(_whole(view), pixels)


def test_limits_that_contradict_each_other_are_named():
    with pytest.raises(ValueError, match='min_pixels=401408, max_pixels=100000: min_pixels must be'):
        Cells(28, max_pixels=100_000)
    with pytest.raises(ValueError, match="image_cut='cell' is not one of 'tiles', 'cells'"):
        image_cut('cell', 28, 1)


@pytest.mark.parametrize('cut', [Tiles(448, 16, 6), Cells(32, max_pixels=90 * 1024, min_pixels=1024)])
def test_the_setting_that_fits_is_the_largest(cut):
    most = cut.most_tokens()
    assert cut.setting_for(most) == getattr(cut, cut.setting)
    assert cut.setting_for(most - 1) < getattr(cut, cut.setting)
    assert cut.setting_for(0) == 0


def packed(width: int, height: int) -> RegionSample:
    masks = np.zeros((2, height, width), dtype=bool)
    masks[0, : height // 2] = masks[1, -1, -1] = True
    view = RawView(f'{width}', np.zeros((height, width, 3), dtype=np.uint8), masks)
    packing = PackRegions(
        image_size=8, grid_size=1, grounding_size=128, image_cut='cells', min_pixels=64, max_pixels=64 * 40
    )
    sample = RawSample('sav', f'{width}', view, None, [None, None])
    return packing.transform({'sample': sample})['sample']


def test_prompts_are_marked_on_the_image_s_own_grid_and_filled_up_in_a_batch():
    samples = [packed(48, 32), packed(24, 40)]
    assert [tuple(s.view1.visual_prompts.shape) for s in samples] == [(2, 4, 6), (2, 5, 3)]
    assert samples[0].view1.visual_prompts.flatten(1).sum(1).tolist() == [12, 1]
    batch = collate_regions(samples)['batch']
    assert batch.num_tiles == [24, 15]
    assert batch.grids == [(4, 6), (5, 3)]
    assert batch.visual_prompts.shape == (4, 5, 6)
    assert torch.equal(batch.visual_prompts[2:, :5, :3], samples[1].view1.visual_prompts)
    assert not batch.visual_prompts[2:, :, 3:].any()
    second = batch[[3]]
    assert second.grids == [(5, 3)]
    assert len(second.pixel_values) == 15
