"""image1 + mask1, the caption, image2 + mask 2 + mask': one strip per region."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from .outlines import FOUND, LINE, TRUE, Outline, outlined

_GROUND, _INK = (24, 24, 28), (240, 240, 240)
#: Pixels between two pictures, and of a line of text; letters of a line below a strip.
_GAP, _TEXT, _LETTERS = 8, 13, 64
#: Around a picture, for outlines that run outside their masks.
_MARGIN = LINE + 1


def overlay(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int] = FOUND) -> np.ndarray:
    """The image with a mask's outline and its inside tinted.

    Args:
        image: ``[H, W, 3]`` uint8.
        mask: ``[H, W]`` bool.
        color: RGB.
    """
    picture = image.astype(np.float32)
    picture[mask] = 0.75 * picture[mask] + 0.25 * np.array(color)
    return outlined(picture.astype(np.uint8), Outline(mask, color))


def region_strip(
    image1: Tensor, mask1: Tensor, image2: Tensor, mask2: Tensor, found: Tensor, caption: str, iou: float,
    side: int = 192,
) -> Image.Image:  # fmt: skip
    """One region: view 1 with the mask that was described; view 2 with its true mask and mask'; the caption.

    True masks have a yellow outline, just outside; mask' has a cyan one, just inside.

    Args:
        image1, image2: ``[3, G, G]`` uint8.
        mask1: ``[H, W]`` bool, the prompt.
        mask2: ``[H, W]`` bool, the ground truth in view 2.
        found: ``[H, W]`` bool, mask'.
        caption: What the student wrote; at most two lines of it are shown.
        iou: IoU of mask' and the ground truth.
        side: Side of each view in the picture, in pixels.
    """
    first = _view(image1, side, [(mask1, TRUE, True)])
    second = _view(image2, side, [(mask2, TRUE, True), (found, FOUND, False)])
    lines = textwrap.wrap(f'"{caption}"', _LETTERS, max_lines=2, placeholder=' ..."') or ['""']
    strip = Image.new('RGB', (2 * first.width + _GAP, first.height + 4 + 3 * _TEXT), _GROUND)
    strip.paste(first, (0, 0))
    strip.paste(second, (first.width + _GAP, 0))
    canvas = ImageDraw.Draw(strip)
    _legend(canvas, 4, first.height + 2, f'IoU {iou:.2f}')
    canvas.multiline_text((4, first.height + 2 + _TEXT), '\n'.join(lines), fill=_INK, spacing=1)
    return strip


def _view(
    image: Tensor, side: int, masks: Sequence[tuple[Tensor, tuple[int, int, int], bool]]
) -> Image.Image:
    pixels = np.asarray(Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).resize((side, side)))
    outlines = [
        Outline(np.pad(resized(mask.cpu().numpy(), side), _MARGIN), color, is_outside)
        for mask, color, is_outside in masks
    ]
    frame = np.pad(pixels, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))
    return Image.fromarray(outlined(frame, *outlines))


def resized(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask ``[H, W]`` bool in a square of so many pixels."""
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))


def _legend(canvas: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    for color, word in ((TRUE, 'true mask'), (FOUND, "mask' from the caption")):
        canvas.rectangle([x, y + 2, x + 8, y + 10], fill=color)
        canvas.text((x + 13, y), word, fill=_INK)
        x += 13 + round(canvas.textlength(word)) + 14
    canvas.text((x, y), text, fill=_INK)


def contact_sheet(strips: Sequence[Image.Image], columns: int = 2) -> np.ndarray:
    """Strips in a grid, ``[H, W, 3]`` uint8 RGB."""
    return _sheet([strips[i : i + columns] for i in range(0, len(strips), columns)])


def contact_sheets(
    strips: Sequence[Image.Image], columns: int = 2, max_height: int = 4000
) -> Iterator[np.ndarray]:
    """Strips in grids of at most so many pixels in height; a strip that is higher has one of its own."""
    rows: list[Sequence[Image.Image]] = []
    for start in range(0, len(strips), columns):
        row = strips[start : start + columns]
        if rows and sum(map(_height, [*rows, row])) > max_height:
            yield _sheet(rows)
            rows = []
        rows.append(row)
    if rows:
        yield _sheet(rows)


def _sheet(rows: Sequence[Sequence[Image.Image]]) -> np.ndarray:
    width = max(strip.width for row in rows for strip in row) + _GAP
    sheet = Image.new('RGB', (max(map(len, rows)) * width, sum(map(_height, rows))))
    top = 0
    for row in rows:
        for column, strip in enumerate(row):
            sheet.paste(strip, (column * width, top))
        top += _height(row)
    return np.asarray(sheet)


def _height(row: Sequence[Image.Image]) -> int:
    return max(strip.height for strip in row) + _GAP
