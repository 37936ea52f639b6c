"""Sheets have a size that a viewer opens, however many regions there are."""

import numpy as np
from PIL import Image

from projects.mask_caption_sft.visualization.region_picture import contact_sheet, contact_sheets
from projects.mask_caption_sft.visualization.sample_sheet import MAX_ROWS, sample_strip
from tests.miniature import miniature_sample


def strip(height: int, shade: int = 255) -> Image.Image:
    return Image.new('RGB', (100, height), (shade, shade, shade))


def sample_of_bytes(expressions):
    sample = miniature_sample('a', expressions)
    for view in (sample.view1, sample.view2):
        view.pixel_values = view.pixel_values.mul(255).byte()
    return sample


def test_strips_of_any_heights_go_on_as_many_sheets_as_are_needed_and_none_is_lost():
    strips = [strip(height, shade) for shade, height in enumerate((300, 900, 200, 200, 1500, 100, 50), 1)]
    sheets = list(contact_sheets(strips, max_height=1200))
    assert [len(sheet) for sheet in sheets] == [908 + 208, 1508, 58]
    shades = [sorted(set(np.unique(sheet)) - {0}) for sheet in sheets]
    assert shades == [[1, 2, 3, 4], [5, 6], [7]]
    assert list(contact_sheets([])) == []


def test_strips_of_one_sheet_do_not_cover_each_other():
    sheet = contact_sheet([strip(10, 1), strip(30, 2), strip(20, 3)])
    assert [(sheet[..., 0] == shade).sum() for shade in (1, 2, 3)] == [1000, 3000, 2000]


def test_of_an_image_with_many_regions_the_first_are_drawn():
    heights = [sample_strip(sample_of_bytes(['text'] * n), side=56).height for n in (1, MAX_ROWS, 7)]
    assert heights == [74, MAX_ROWS * 74, MAX_ROWS * 74]
    few, many = (sample_strip(sample_of_bytes([None] * n), side=112) for n in (MAX_ROWS, 7))
    assert np.asarray(few).tobytes() != np.asarray(many).tobytes()  # "and 1 regions more"
