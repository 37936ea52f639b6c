"""Masks that stay undecoded are sampled and counted as decoded ones are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from projects.mask_caption_sft.datasets.lazy_masks import LazyMasks, Window, sampled_at
from projects.mask_caption_sft.ops.mask import encode_rle
from projects.mask_caption_sft.ops.visual_prompt import visual_prompt_grid


def disc(size=(75, 110), centre=(30, 60), radius=17):
    y, x = np.mgrid[: size[0], : size[1]]
    return (x - centre[1]) ** 2 + (y - centre[0]) ** 2 < radius**2


@pytest.fixture
def undecodable(monkeypatch):
    def refuse(rle):
        raise AssertionError('a mask was decoded')

    monkeypatch.setattr('projects.mask_caption_sft.datasets.lazy_masks.coco_mask.decode', refuse)


@pytest.mark.parametrize('mode', ['nearest', 'nearest-exact'])
def test_pixels_are_taken_where_interpolate_takes_them(mode):
    for length in (*range(1, 70), 447, 480, 640, 1024, 1500, 2250, 5472):
        for side in (1, 2, 16, 32, 256):
            taken = F.interpolate(torch.arange(length).float()[None, None], side, mode=mode)[0, 0]
            two = F.interpolate(torch.arange(length).float()[None, None, :, None], (side, 1), mode=mode)
            assert sampled_at(length, side, mode).tolist() == taken.tolist() == two.flatten().tolist()


@pytest.mark.parametrize('is_mirrored', [False, True])
@pytest.mark.parametrize('mode', ['nearest', 'nearest-exact'])
def test_a_window_is_sampled_without_decoding(undecodable, mode, is_mirrored):
    mask, window = disc(), Window(21, 9, 71, 50, is_mirrored)
    seen = LazyMasks.from_rles([encode_rle(mask)]).seen_in(window)
    cut = torch.from_numpy(window.cut(mask).copy())
    expected = F.interpolate(cut[None, None].float(), (32, 32), mode=mode)[0].bool()
    assert torch.equal(seen.shrunk((50, 71), 32, mode), expected)
    assert seen.pixels_in(window).tolist() == [cut.sum().item()]
    arrays = LazyMasks.from_array(mask[None]).seen_in(window)
    assert torch.equal(arrays.shrunk((50, 71), 32, mode), expected)
    assert arrays.pixels_in(window).tolist() == [cut.sum().item()]


def test_a_mask_that_sampling_misses_keeps_the_cell_that_it_covers_most():
    speck = np.zeros((75, 110), bool)
    speck[38:40, 41] = True
    empty = np.zeros_like(speck)
    masks = LazyMasks.from_rles([encode_rle(m) for m in (speck, disc(), empty)])
    found = masks.shrunk((75, 110), 8)
    expected = visual_prompt_grid(torch.from_numpy(np.stack([speck, disc(), empty])), 8)
    assert torch.equal(found, expected)
    assert found.flatten(1).any(1).tolist() == [True, True, False]


def test_a_window_of_an_rle_is_an_rle_of_the_window():
    mask, window = disc(), Window(21, 9, 71, 50)
    whole = LazyMasks.from_rles([encode_rle(mask)])
    assert whole.rle(0) == encode_rle(mask)
    assert whole.seen_in(window).rle(0) == encode_rle(window.cut(mask))
