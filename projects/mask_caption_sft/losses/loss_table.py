"""Sums and counts over all ranks: two processes with one sample each equal one process with both."""

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

#: Name of the entry that is no loss: zero, with a graph.
GRAPH = 'graph'


class LossTable:
    """Collects losses and values to log item by item, and averages them over the items of all ranks.

    DDP averages gradients over ranks, so dividing the local sum by the *mean* count over
    ranks gives the gradient of the mean over all items. What is logged is that mean itself.

    Args:
        graph: A scalar of value 0 with a gradient graph: a rank without an item can still call backward.
    """

    def __init__(self, graph: Tensor) -> None:
        self.graph = graph
        self._losses: dict[str, Tensor] = {}
        self._counts: dict[str, float] = defaultdict(float)
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor, weight: float, count: int | None = None) -> None:
        """Add the losses ``[N]`` of N items.

        Args:
            name: Losses of one name are averaged together.
            values: One per item.
            weight: Weight of this loss in the total; at 0 nothing is added.
            count: What the sum is divided by where items without a loss count too; N by default.
        """
        if weight == 0:
            return
        self._losses[name] = self._losses.get(name, self.graph) + weight * values.sum()
        self._counts[name] += len(values) if count is None else count

    def log(self, name: str, values: Tensor) -> None:
        """Log the mean of ``[N]`` values without gradient, over the N items of all ranks."""
        total = values.detach().float().sum().to(self.graph.device)
        self._sums[name] = self._sums.get(name, 0) + total
        self._counts[name] += len(values)

    def log_by_dataset(self, name: str, values: Tensor, datasets: Sequence[str]) -> None:
        """Log ``[N]`` values as ``{dataset}/{name}``, given the N items' datasets."""
        for dataset in sorted(set(datasets)):
            rows = [row for row, other in enumerate(datasets) if other == dataset]
            self.log(f'{dataset}/{name}', values[rows])

    def averages(self) -> dict[str, Tensor]:
        """Weighted losses and logged means by name; what no rank has an item of is left out.

        A loss has the value of the mean over all ranks, and the gradient of this rank's share.
        """
        totals = self._over_ranks()
        world_size = dist.get_world_size() if dist.is_initialized() else 1
        found: dict[str, Tensor] = {GRAPH: self.graph}
        for name, (total, count) in sorted(totals.items()):
            if count == 0:
                continue
            if not name.startswith('loss_'):
                found[name] = torch.tensor(total / count)
                continue
            share = self._losses.get(name, self.graph) * (world_size / count)
            found[name] = share + (total / count - share.detach())
        return found

    def _over_ranks(self) -> dict[str, tuple[float, float]]:
        """Sum and count by name; the names may differ from rank to rank."""
        sums = self._losses | self._sums
        # One transfer for all of them: each would make the host wait for the device.
        values = torch.stack([total.detach().double() for total in (self.graph, *sums.values())]).tolist()
        own = {name: (total, self._counts[name]) for name, total in zip(sums, values[1:])}
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return own
        gathered: list[dict[str, tuple[float, float]]] = [{} for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, own)
        totals: dict[str, tuple[float, float]] = {}
        for rank in gathered:
            for name, (total, count) in rank.items():
                before = totals.get(name, (0.0, 0.0))
                totals[name] = (before[0] + total, before[1] + count)
        return totals
