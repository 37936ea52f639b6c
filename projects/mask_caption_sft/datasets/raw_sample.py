"""What a dataset reads from disk, with masks that are decoded when they are needed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ops.mask import encode_rle
from .lazy_masks import LazyMasks


class RawView:
    """An image as it was read.

    Attributes:
        image_id: Names the pixels.
        image: ``[H, W, 3]`` uint8 RGB.
        masks: ``[N, H, W]`` bool; given as :class:`LazyMasks`, they are decoded when this is first read.
    """

    def __init__(self, image_id: str, image: np.ndarray, masks: np.ndarray | LazyMasks) -> None:
        self.image_id, self.image = image_id, image
        self._masks = masks

    @property
    def masks(self) -> np.ndarray:
        """All masks, decoded."""
        if isinstance(self._masks, LazyMasks):
            self._masks = self._masks.stack()
        return self._masks

    @masks.setter
    def masks(self, masks: np.ndarray | LazyMasks) -> None:
        self._masks = masks

    def lazy_masks(self) -> LazyMasks:
        """The masks, for questions that need not decode them."""
        masks = self._masks
        return masks if isinstance(masks, LazyMasks) else LazyMasks.from_array(masks)

    def rle(self, row: int) -> dict[str, Any]:
        """One mask as COCO RLE, see :meth:`LazyMasks.rle`."""
        masks = self._masks
        return masks.rle(row) if isinstance(masks, LazyMasks) else encode_rle(masks[row])

    def known_areas(self) -> np.ndarray:
        """``[N]`` shares of the image that the masks cover; NaN where a mask would have to be decoded."""
        return self._masks.areas if isinstance(self._masks, LazyMasks) else self._masks.mean(axis=(1, 2))

    def area(self, row: int) -> float:
        """The share that one mask covers."""
        if isinstance(self._masks, LazyMasks):
            return self._masks.area(row)
        return float(self._masks[row].mean())

    def keep(self, rows: list[int]) -> None:
        """Drop all masks but these."""
        self._masks = self._masks.keep(rows) if isinstance(self._masks, LazyMasks) else self._masks[rows]


@dataclass
class RawSample:
    """What a dataset reads from disk, before transforms.

    Attributes:
        dataset, sample_id: See :class:`RegionSample`.
        view1, view2: Two views; the second may be missing.
        expressions: One text or None per region.
        absent: Per region, whether its expression fits nothing, so that its mask is empty on purpose;
            an empty list means that none does.
        dropped: Why masks of the record were left out, one reason each: they could not be read, others could.
    """

    dataset: str
    sample_id: str
    view1: RawView
    view2: RawView | None
    expressions: list[str | None] = field(default_factory=list)
    absent: list[bool] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    @property
    def views(self) -> list[RawView]:
        """One view or two."""
        return [self.view1] if self.view2 is None else [self.view1, self.view2]

    def is_absent(self) -> np.ndarray:
        """``[N]`` bool."""
        return np.array(self.absent or [False] * len(self.expressions), dtype=bool)

    def known_areas(self) -> np.ndarray:
        """``[views, N]`` shares of the image that the masks cover; NaN where one would have to be decoded."""
        return np.stack([view.known_areas() for view in self.views])

    def areas(self, row: int) -> np.ndarray:
        """``[views]`` shares that one mask covers."""
        return np.array([view.area(row) for view in self.views])

    def keep_regions(self, rows: list[int]) -> None:
        """Drop all regions but these."""
        self.absent = self.is_absent()[rows].tolist()
        self.expressions = [self.expressions[i] for i in rows]
        for view in self.views:
            view.keep(rows)
