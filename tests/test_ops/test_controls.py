"""Whose caption a region gets when captions are shuffled."""

import torch

from projects.mask_caption_sft.ops.controls import other_regions


def others(*images: int) -> list[int]:
    return other_regions(torch.tensor(images, dtype=torch.long)).tolist()


def test_the_regions_of_an_image_change_places_in_a_circle():
    assert others(0, 0, 0) == [2, 0, 1]


def test_a_region_of_the_same_image_comes_before_any_other():
    assert others(0, 0, 5, 5) == [1, 0, 3, 2]
    assert others(0, 7, 0, 7) == [2, 3, 0, 1]  # wherever it stands in the batch


def test_a_region_alone_in_its_image_takes_one_of_another_image():
    assert others(0, 0, 3) == [1, 0, 1]
    assert others(4, 2, 9) == [2, 0, 1]


def test_a_single_region_has_no_other():
    assert others(6) == [-1]
    assert others() == []


def test_nobody_keeps_its_own():
    images = torch.randint(0, 4, (50,))
    found = other_regions(images)
    assert (found != torch.arange(50)).all()
    assert (images[found] == images).all()  # with 50 regions of 4 images nobody is alone
