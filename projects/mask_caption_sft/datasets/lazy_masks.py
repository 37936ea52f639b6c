"""Masks of one image that are decoded when they are needed, if they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from ..ops.mask import encode_rle, with_text_counts
from ..ops.run_lengths import RunLengths
from ..ops.visual_prompt import visual_prompt_grid


class RLEMask:
    """A compressed COCO RLE, checked when it is first used.

    Args:
        checked: Gives the RLE, or raises.
    """

    def __init__(self, checked: Callable[[], dict[str, Any]]) -> None:
        self.checked = checked

    def __call__(self) -> np.ndarray:
        """The mask, ``[H, W]`` bool."""
        return coco_mask.decode(self.checked()).view(np.bool_)

    @cached_property
    def runs(self) -> RunLengths:
        """The mask without decoding it."""
        return RunLengths(self.checked())

    def rle(self) -> dict[str, Any]:
        """With ``counts`` as str, for JSON."""
        return with_text_counts(self.checked())


@dataclass(frozen=True)
class Window:
    """The part of an image that is seen; ``is_mirrored`` left to right."""

    x: int
    y: int
    width: int
    height: int
    is_mirrored: bool = False

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """That part of an image or mask ``[H, W, ...]``."""
        part = pixels[self.y : self.y + self.height, self.x : self.x + self.width]
        return part[:, ::-1] if self.is_mirrored else part

    def columns(self, columns: np.ndarray) -> np.ndarray:
        """Columns of the image, from columns of the window."""
        return self.x + (self.width - 1 - columns if self.is_mirrored else columns)


class LazyMasks:
    """N masks of one image. An RLE is decoded only where all its pixels are needed.

    Args:
        decoders: N functions that return a bool mask ``[H, W]``.
        areas: ``[N]`` shares of the image that they cover, where known beforehand; otherwise NaN.
        window: The part of the image that is seen; None for all of it.
    """

    def __init__(
        self,
        decoders: Sequence[Callable[[], np.ndarray]],
        areas: np.ndarray | None = None,
        window: Window | None = None,
    ) -> None:
        self.decoders, self.window = list(decoders), window
        self.areas = np.full(len(decoders), np.nan) if areas is None else np.asarray(areas, np.float64)
        self._decoded: dict[int, np.ndarray] = {}

    @classmethod
    def from_rles(cls, rles: Sequence[dict]) -> 'LazyMasks':
        """From compressed RLEs that have been checked (:func:`ops.mask.to_rle`), of one size."""
        areas = coco_mask.area(list(rles)) / (rles[0]['size'][0] * rles[0]['size'][1]) if rles else None
        return cls([RLEMask(partial(dict, rle)) for rle in rles], areas)

    @classmethod
    def from_array(cls, masks: np.ndarray) -> 'LazyMasks':
        """From decoded masks ``[N, H, W]`` bool."""
        return cls([partial(np.asarray, mask) for mask in masks])

    def __len__(self) -> int:
        return len(self.decoders)

    def area(self, row: int) -> float:
        """Share of the image that a mask covers; decodes it if that is not known."""
        if np.isnan(self.areas[row]):
            self.areas[row] = self._whole(row).mean()
        return float(self.areas[row])

    def decode(self, row: int) -> np.ndarray:
        """One mask, ``[H, W]`` bool."""
        return self._whole(row) if self.window is None else self.window.cut(self._whole(row))

    def _whole(self, row: int) -> np.ndarray:
        if row not in self._decoded:
            self._decoded[row] = self.decoders[row]()
        return self._decoded[row]

    def rle(self, row: int) -> dict[str, Any]:
        """One mask as COCO RLE with ``counts`` as str; one that came as an RLE is that, and not decoded."""
        decoder = self.decoders[row]
        if isinstance(decoder, RLEMask) and self.window is None:
            return decoder.rle()
        return encode_rle(self.decode(row))

    def keep(self, rows: Sequence[int]) -> 'LazyMasks':
        """Some of the masks."""
        kept = LazyMasks([self.decoders[row] for row in rows], self.areas[list(rows)], self.window)
        kept._decoded = {i: self._decoded[row] for i, row in enumerate(rows) if row in self._decoded}
        return kept

    def seen_in(self, window: Window) -> 'LazyMasks':
        """The same masks in a part of the image; what is decoded is shared."""
        cut = LazyMasks(self.decoders, window=window)
        cut._decoded = self._decoded
        return cut

    def pixels_in(self, window: Window) -> np.ndarray:
        """``[N]``: how many pixels of each mask are in a part of the image."""
        box = (window.x, window.y, window.width, window.height)
        return np.array(
            [
                decoder.runs.pixels_in(*box)
                if isinstance(decoder, RLEMask) and row not in self._decoded
                else np.count_nonzero(window.cut(self._whole(row)))
                for row, decoder in enumerate(self.decoders)
            ],
            np.int64,
        )

    def stack(self) -> np.ndarray:
        """All of them, decoded, ``[N, H, W]``."""
        return np.stack([self.decode(row) for row in range(len(self.decoders))])

    def shrunk(self, size: tuple[int, int], side: int | tuple[int, int], mode: str = 'nearest') -> Tensor:
        """``[N, side, side]`` bool, as ``F.interpolate`` samples them; one that would vanish keeps a cell.

        Args:
            size: Height and width of what is seen.
            side: Of the result, or its rows and columns.
            mode: ``'nearest'`` or ``'nearest-exact'``.
        """
        window = self.window or Window(0, 0, size[1], size[0])
        height, width = (side, side) if isinstance(side, int) else side
        rows = window.y + sampled_at(size[0], height, mode)
        columns = window.columns(sampled_at(size[1], width, mode))
        masks = [self._at(row, rows, columns) for row in range(len(self.decoders))]
        small = torch.zeros(len(masks), height, width, dtype=torch.bool)
        for found, mask in zip(small, masks):
            found.copy_(torch.from_numpy(mask))
        for row in (~small.flatten(1).any(1)).nonzero()[:, 0].tolist():
            if self.keep([row]).pixels_in(window)[0]:
                whole = torch.from_numpy(np.ascontiguousarray(self.decode(row)))
                small[row] = visual_prompt_grid(whole[None], (height, width))[0]
        return small

    def _at(self, row: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        decoder = self.decoders[row]
        if isinstance(decoder, RLEMask) and row not in self._decoded:
            return decoder.runs.at(rows, columns)
        return self._whole(row)[rows[:, None], columns]


@lru_cache(maxsize=256)
def sampled_at(length: int, side: int, mode: str) -> np.ndarray:
    """``[side]``: which of ``length`` pixels ``F.interpolate`` takes."""
    numbers = torch.arange(length, dtype=torch.float32)[None, None]
    return F.interpolate(numbers, side, mode=mode)[0, 0].long().numpy()
