"""Averages over all ranks: two processes with one sample each equal one process with both."""

import torch
import torch.distributed as dist
from torch import Tensor


class LossTable:
    """Collects values per item and divides each sum by the number of items on all ranks.

    DDP averages gradients over ranks, so dividing the local sum by the *mean*
    count over ranks gives the mean over all items.

    Args:
        weights: Weight of each loss; a loss that is not named cannot be added.
        anchor: A scalar of value 0 with a gradient graph, for losses without items.
    """

    def __init__(self, weights: dict[str, float], anchor: Tensor) -> None:
        self.weights, self.anchor = weights, anchor
        self._sums = {name: anchor for name, weight in weights.items() if weight > 0}
        self._counts = dict.fromkeys(self._sums, 0.0)

    def add(self, name: str, values: Tensor, keep: Tensor | None = None) -> None:
        """Add the losses ``[N]`` of N items, or of those that ``keep`` ``[N]`` bool names."""
        if name not in self._sums:
            return
        if keep is not None:
            values = values[keep]
        self._sums[name] = self._sums[name] + values.sum()
        self._counts[name] += len(values)

    def averages(self) -> dict[str, Tensor]:
        """Weighted scalars by name; 0 where no rank had an item."""
        if not self._sums:
            return {'loss_none': self.anchor}
        counts = torch.tensor(list(self._counts.values()), device=self.anchor.device)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(counts)
            counts = counts / dist.get_world_size()
        return {
            name: self.weights[name] * total / count if count > 0 else total * 0
            for (name, total), count in zip(self._sums.items(), counts.tolist())
        }
