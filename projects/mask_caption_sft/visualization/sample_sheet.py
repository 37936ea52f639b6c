"""Draws what the model gets of a training sample, after all transforms and nothing else."""

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..structures import RegionSample, View
from .outlines import CASING, TRUE
from .region_picture import overlay, resized

#: Rows of a strip; an image may hold a hundred regions.
MAX_ROWS = 6


def sample_strip(sample: RegionSample, side: int = 224) -> Image.Image:
    """The first regions of a sample, one row each.

    Columns: the ViT's thumbnail (or the whole image) with the marked prompt cells; view 1 and view 2 as
    the grounding encoder gets them, with the masks; below, the name and the text. Of more than six regions,
    the last row says how many are left out.

    Args:
        sample: A sample from ``PackRegions``.
        side: Side of each picture, in pixels.
    """
    row_height = side + 18
    shown, rest = sample.expressions[:MAX_ROWS], len(sample) - MAX_ROWS
    strip = Image.new('RGB', (3 * side + 16, row_height * len(shown)), (24, 24, 28))
    canvas = ImageDraw.Draw(strip)
    for row, expression in enumerate(shown):
        pictures = (
            _thumbnail(sample.view1, row, side),
            _grounding(sample.view1, row, side),
            _grounding(sample.view2, row, side),
        )
        for column, picture in enumerate(pictures):
            strip.paste(picture, (column * (side + 8), row * row_height))
        cells = int(sample.view1.visual_prompts[row].sum())
        areas = [float(view.masks[row].float().mean()) for view in (sample.view1, sample.view2)]
        numbers = f'cells {cells}  areas {areas[0]:.2%} {areas[1]:.2%}'
        text = f'{sample.dataset}  {expression or "(no text)"}  {numbers}'
        if rest > 0 and row + 1 == len(shown):
            text = f'(and {rest} regions more)  {text}'
        canvas.text((4, row * row_height + side + 3), text, fill=(240, 240, 240))
    return strip


def _thumbnail(view: View, row: int, side: int) -> Image.Image:
    """What the ViT sees of the whole image, with a frame around every marked cell."""
    picture = _image(_whole(view)).resize((side, side))
    canvas = ImageDraw.Draw(picture)
    grid = view.visual_prompts[row]
    height, width = (side / length for length in grid.shape)
    for y, x in grid.nonzero().tolist():
        frame = [x * width, y * height, (x + 1) * width - 1, (y + 1) * height - 1]
        canvas.rectangle(frame, outline=CASING, width=2)
        canvas.rectangle(frame, outline=TRUE)
    return picture


def _whole(view: View) -> Tensor:
    """``[3, H, W]``: the last tile; or all tiles, if each is a cell of the prompt grid."""
    rows, columns = view.visual_prompts.shape[-2:]
    tiles = view.pixel_values
    if len(tiles) != rows * columns:
        return tiles[-1]
    side = tiles.shape[-1]
    return tiles.view(rows, columns, 3, side, side).permute(2, 0, 3, 1, 4).reshape(3, rows * side, -1)


def _grounding(view: View, row: int, side: int) -> Image.Image:
    pixels = np.asarray(_image(view.g_pixel_values).resize((side, side)))
    return Image.fromarray(overlay(pixels, resized(view.masks[row].numpy(), side), TRUE))


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
