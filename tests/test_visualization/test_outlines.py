"""Masks are seen whatever is behind them, and the true one beside the one that was found."""

import itertools

import numpy as np
import pytest
import torch

from projects.mask_caption_sft.visualization.outlines import CASING, FOUND, TRUE, Outline, outlined
from projects.mask_caption_sft.visualization.region_picture import overlay, region_strip

GROUNDS = list(itertools.product((0, 64, 128, 192, 255), repeat=3))


def contrast(one, other) -> float:
    """Contrast ratio of WCAG 2.1, 1 to 21."""

    def luminance(color):
        parts = [c / 255 for c in color]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def square(low: int, high: int, side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[low:high, low:high] = True
    return mask


def has(picture, color) -> np.ndarray:
    return (np.asarray(picture) == color).all(-1)


@pytest.mark.parametrize('color', [TRUE, FOUND])
def test_on_any_ground_a_line_or_its_casing_stands_out(color):
    """3 is what WCAG asks of graphics."""
    for ground in GROUNDS:
        picture = outlined(np.full((40, 40, 3), ground, np.uint8), Outline(square(10, 30), color))
        drawn = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} - {ground}
        assert max(contrast(ground, pixel) for pixel in drawn) > 3, ground
    assert contrast(color, CASING) > 10


def test_the_outlines_of_equal_masks_are_both_whole():
    mask = square(10, 30)
    picture = outlined(np.zeros((40, 40, 3), np.uint8), Outline(mask, TRUE, True), Outline(mask, FOUND))
    assert np.array_equal(has(picture, TRUE), square(8, 32) & ~mask)
    assert np.array_equal(has(picture, FOUND), mask & ~square(12, 28))


def test_an_outline_follows_the_edge_of_the_image():
    picture = overlay(np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), bool))
    assert np.array_equal(has(picture, FOUND), ~square(2, 38))


def test_a_strip_shows_the_true_mask_beside_a_wrong_one_on_a_ground_of_any_colour():
    truth, found = np.zeros((2, 64, 64), bool)
    truth[5:25, 5:25] = found[35:60, 30:60] = True
    truth, found = torch.from_numpy(truth), torch.from_numpy(found)
    purple = torch.tensor([160, 32, 200], dtype=torch.uint8)[:, None, None].expand(3, 64, 64)
    strip = np.asarray(region_strip(purple, truth, purple, truth, found, 'a caption ' * 40, 0.0, side=64))
    left, right = strip[:70, :70], strip[:70, 78:148]
    assert has(left, TRUE).any()
    assert not has(left, FOUND).any()
    assert has(right, TRUE)[:32, :32].any()
    assert has(right, FOUND)[32:, 32:].any()
    assert not has(right, TRUE)[35:].any()


def test_a_mask_of_the_whole_image_has_an_outline_too():
    whole = torch.ones(64, 64, dtype=torch.bool)
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    strip = np.asarray(region_strip(image, whole, image, whole, ~whole, '', 0.0, side=64))
    assert has(strip[:70, :70], TRUE).any()
