"""Draws what the model gets of a training sample, after all transforms and nothing else."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..datasets.tiling import IMAGENET_MEAN, IMAGENET_STD
from ..structures import RegionSample, View
from .region_picture import overlay

_CELL, _MASK = (255, 220, 0), (255, 0, 200)


def sample_strip(sample: RegionSample, side: int = 224) -> Image.Image:
    """All regions of a sample, one row each.

    Columns: the ViT's thumbnail with the marked prompt cells; view 1 and view 2 as the grounding
    encoder gets them, with the masks; below, the name and the text.

    Args:
        sample: A sample from ``PackRegions``.
        side: Side of each picture, in pixels.
    """
    row_height = side + 18
    strip = Image.new('RGB', (3 * side + 16, row_height * len(sample)), (24, 24, 28))
    canvas = ImageDraw.Draw(strip)
    for row, expression in enumerate(sample.expressions):
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
        canvas.text((4, row * row_height + side + 3), text, fill=(240, 240, 240))
    return strip


def _thumbnail(view: View, row: int, side: int) -> Image.Image:
    """The last tile, its normalization undone, with a frame around every marked cell."""
    mean, std = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    pixels = ((view.pixel_values[-1] * std + mean).clamp(0, 1) * 255).byte()
    picture = _image(pixels).resize((side, side))
    canvas = ImageDraw.Draw(picture)
    grid = view.visual_prompts[row]
    cell = side / grid.shape[0]
    for y, x in grid.nonzero().tolist():
        canvas.rectangle([x * cell, y * cell, (x + 1) * cell - 1, (y + 1) * cell - 1], outline=_CELL)
    return picture


def _grounding(view: View, row: int, side: int) -> Image.Image:
    pixels = np.asarray(_image(view.g_pixel_values).resize((side, side)))
    mask = Image.fromarray(view.masks[row].numpy()).resize((side, side), Image.Resampling.NEAREST)
    return Image.fromarray(overlay(pixels, np.asarray(mask), _MASK))


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
