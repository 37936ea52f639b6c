"""Which masks may be drawn, judged by what an index knows about them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MaskFilter:
    """Bounds on masks; by default every mask that has an area passes.

    Attributes:
        min_area_ratio, max_area_ratio: Bounds on a mask's share of the image.
        min_predicted_iou, min_stability_score: Bounds on SA-1B's own quality scores
            (OpenImages has only the first).
        drop_border: Leave out masks that touch the image's border.
    """

    min_area_ratio: float = 0.0
    max_area_ratio: float = 1.0
    min_predicted_iou: float = 0.0
    min_stability_score: float = 0.0
    drop_border: bool = False

    def passes(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """``[M]`` bool for M masks, from their columns (see :class:`MaskIndex`)."""
        area = columns['area_ratio']
        good = (area > 0) & (area >= self.min_area_ratio) & (area <= self.max_area_ratio)
        good &= columns['predicted_iou'] >= self.min_predicted_iou
        good &= columns['stability_score'] >= self.min_stability_score
        if self.drop_border:
            good &= ~columns['touches_border']
        return good
