"""An RLE answers as its decoded mask does."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from projects.mask_caption_sft.ops.mask import encode_rle, to_rle
from projects.mask_caption_sft.ops.run_lengths import RunLengths


def masks():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:37, :53]
    yield from (rng.random((37, 53)) < share for share in (0.02, 0.5, 0.98))
    yield (x - 20) ** 2 + (y - 30) ** 2 < 200
    yield np.zeros((37, 53), bool)
    yield np.ones((37, 53), bool)
    yield (x == 0) & (y == 0)
    yield (x == 52) & (y == 36)


@pytest.mark.parametrize('number', range(8))
def test_pixels_and_counts_are_those_of_the_decoded_mask(number):
    mask = list(masks())[number]
    runs = RunLengths(encode_rle(mask))
    rows, columns = np.array([0, 3, 3, 20, 36]), np.array([52, 51, 7, 0])  # mirrored: from right to left
    assert np.array_equal(runs.at(rows, columns), mask[rows[:, None], columns])
    for x, y, width, height in (
        (0, 0, 53, 37),
        (5, 7, 20, 11),
        (52, 36, 1, 1),
        (0, 36, 53, 1),
        (9, 0, 1, 37),
    ):
        assert runs.pixels_in(x, y, width, height) == mask[y : y + height, x : x + width].sum()


def test_runs_of_no_length_do_no_harm():
    rle = to_rle({'size': [3, 4], 'counts': [0, 2, 0, 3, 4, 0, 3]}, 3, 4)
    mask = coco_mask.decode(rle).astype(bool)
    runs = RunLengths(rle)
    assert np.array_equal(runs.at(np.arange(3), np.arange(4)), mask)
    assert runs.pixels_in(1, 0, 2, 2) == mask[:2, 1:3].sum() > 0
