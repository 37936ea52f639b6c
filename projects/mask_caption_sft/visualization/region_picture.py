"""image1 + mask1, the caption, image2 + mask': one strip per region."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

_TRUTH, _FOUND = (255, 255, 255), (255, 0, 200)


def overlay(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """The image with a mask's outline in full colour and its inside tinted.

    Args:
        image: ``[H, W, 3]`` uint8.
        mask: ``[H, W]`` bool.
        color: RGB.
    """
    inner = mask.copy()
    inner[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    picture = image.astype(np.float32)
    picture[mask] = 0.65 * picture[mask] + 0.35 * np.array(color)
    picture[mask & ~inner] = color
    return picture.astype(np.uint8)


def region_strip(
    image1: Tensor, mask1: Tensor, image2: Tensor, found: Tensor, caption: str, iou: float, side: int = 192
) -> Image.Image:
    """One region: view 1 with the mask that was described, the caption, view 2 with mask'.

    Args:
        image1, image2: ``[3, G, G]`` uint8.
        mask1: ``[H, W]`` bool, the prompt.
        found: ``[H, W]`` bool, mask'.
        caption: What the student wrote.
        iou: IoU of mask' and the ground truth.
        side: Side of each view in the picture, in pixels.
    """
    strip = Image.new('RGB', (2 * side + 8, side + 20), (24, 24, 28))
    for column, (image, mask, color) in enumerate(((image1, mask1, _TRUTH), (image2, found, _FOUND))):
        pixels = Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).resize((side, side))
        resized = Image.fromarray(mask.cpu().numpy()).resize((side, side), Image.Resampling.NEAREST)
        strip.paste(
            Image.fromarray(overlay(np.asarray(pixels), np.asarray(resized), color)), (column * (side + 8), 0)
        )
    ImageDraw.Draw(strip).text((4, side + 4), f'"{caption}"   IoU {iou:.2f}', fill=(240, 240, 240))
    return strip


def contact_sheet(strips: Sequence[Image.Image], columns: int = 2) -> np.ndarray:
    """Strips in a grid, ``[H, W, 3]`` uint8 RGB."""
    width, height = strips[0].width + 8, strips[0].height + 8
    rows = -(-len(strips) // columns)
    sheet = Image.new('RGB', (columns * width, rows * height))
    for i, strip in enumerate(strips):
        sheet.paste(strip, (i % columns * width, i // columns * height))
    return np.asarray(sheet)
