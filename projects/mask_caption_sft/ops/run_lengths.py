"""Questions to an RLE that need no decoded mask."""

from typing import Any

import numpy as np

from .segmentation_checks import decompress_counts


class RunLengths:
    """A mask as lengths of runs down its columns, background first.

    A mask of an image of 3 million pixels takes 4 ms to decode; a few hundred runs answer in microseconds.

    Args:
        rle: A compressed COCO RLE that has been checked (:func:`ops.mask.to_rle`).
    """

    def __init__(self, rle: dict[str, Any]) -> None:
        self.height, self.width = (int(side) for side in rle['size'])
        lengths = decompress_counts(rle['counts'])
        self._ends = np.cumsum(lengths)
        self._starts = np.append(self._ends - lengths, self.height * self.width)
        # How many pixels of the object lie before each run.
        of_object = np.where(np.arange(len(lengths)) % 2, lengths, 0)
        self._before = np.append(0, np.cumsum(of_object))

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The pixels where these rows and columns cross, ``[rows, columns]`` bool."""
        places = columns[:, None] * self.height + rows
        return (np.searchsorted(self._ends, places.ravel(), side='right') % 2 == 1).reshape(places.shape).T

    def pixels_in(self, x: int, y: int, width: int, height: int) -> int:
        """How many pixels of the object a box holds."""
        tops = np.arange(x, x + width) * self.height + y
        return int((self._count_before(tops + height) - self._count_before(tops)).sum())

    def _count_before(self, places: np.ndarray) -> np.ndarray:
        run = np.searchsorted(self._ends, places, side='right')
        return self._before[run] + np.where(run % 2, places - self._starts[run], 0)
