"""Frozen matrices split over ranks: each keeps its share, and a layer is whole while it runs.

Not FSDP2's hooks (``torch.distributed.fsdp.fully_shard``): where several passes of a step share a frozen
module and some are recomputed, the second finds it in pieces ("got mixed torch.Tensor and DTensor") on torch
2.10, and on torch 2.6 they do not run on a CPU at all; 2.12 is right. What is frozen needs no reduction
of gradients, which is most of what FSDP2 does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import linear

#: A type's view of bytes has to begin at a multiple of its width.
_ALIGNMENT = 16


def frozen_matrices(layer: nn.Module) -> list[nn.Linear]:
    """The linear modules of a layer without a trained weight; those that carry LoRA are among them."""
    return [
        module
        for module in layer.modules()
        if isinstance(module, nn.Linear) and not any(p.requires_grad for p in module.parameters())
    ]


class FrozenShards:
    """Layers whose frozen matrices are gathered when they run, one layer at a time.

    Whoever asks for a matrix makes its whole layer be gathered, and the one before be let go: in passes
    forward, in recomputations and in passes backward. Every gathering is a collective operation: all ranks
    have to run the same layers in the same order, see :class:`EqualPasses`.

    Args:
        layers: The matrices of each layer, in the order in which they run; they lose their weights.
        device: Where shares are kept and matrices are gathered.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]], device: torch.device) -> None:
        # A group of their own: gatherings and DDP's reductions are not in the same order on all ranks.
        group = dist.new_group()
        self._layers = [_Layer(matrices, device, group) for matrices in layers]
        self._gathered: tuple[_Layer, list[Tensor]] | None = None
        for layer, matrices in zip(self._layers, layers):
            layer.take(matrices, self)

    def whole(self, layer: '_Layer') -> list[Tensor]:
        """The tensors of a layer; valid until another layer is asked for."""
        if self._gathered is None or self._gathered[0] is not layer:
            self._gathered = None  # its memory is free before the next layer needs as much
            self._gathered = layer, layer.gather()
        return self._gathered[1]

    def run_empty(self) -> None:
        """Gather every layer once, as a pass without gradient does."""
        for layer in self._layers:
            self.whole(layer)

    @property
    def num_bytes(self) -> int:
        """What this rank keeps."""
        return sum(layer.share.nbytes for layer in self._layers)


@dataclass
class _Place:
    """Where a tensor lies among the bytes of its layer."""

    start: int
    num_bytes: int
    dtype: torch.dtype
    shape: torch.Size

    def of(self, whole: Tensor) -> Tensor:
        return whole[self.start : self.start + self.num_bytes].view(self.dtype).view(self.shape)


class _Layer:
    """Some tensors as one row of bytes, of which each rank keeps an equal part."""

    def __init__(self, matrices: Sequence[nn.Linear], device: torch.device, group: Any) -> None:
        self._group, self._places = group, list[_Place]()
        size = 0
        for tensor in _tensors(matrices):
            self._places.append(_Place(size, tensor.nbytes, tensor.dtype, tensor.shape))
            size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        self._share_size = -(-size // dist.get_world_size(group))
        begin = self._share_size * dist.get_rank(group)
        self.share = torch.zeros(self._share_size, dtype=torch.uint8, device=device)
        for tensor, place in zip(_tensors(matrices), self._places):
            self._keep(tensor, place.start - begin)

    def _keep(self, tensor: Tensor, start: int) -> None:
        """Copy the part of a tensor that lies in this rank's share, which begins at byte 0 of ``start``."""
        stop = min(start + tensor.nbytes, self._share_size)
        if start < self._share_size and stop > 0:
            part = tensor.detach().contiguous().view(-1).view(torch.uint8)[max(0, -start) : stop - start]
            self.share[max(0, start) : stop] = part.to(self.share.device)

    def take(self, matrices: Sequence[nn.Linear], shards: FrozenShards) -> None:
        """Take the weights from the modules, which ask for them from now on."""
        count = 0
        for matrix in matrices:
            weight, bias = count, None if matrix.bias is None else count + 1
            count += 1 if bias is None else 2
            matrix.weight, matrix.bias = None, None  # type: ignore[assignment]
            matrix.forward = _Matrix(shards, self, weight, bias)  # type: ignore[assignment,method-assign]

    def gather(self) -> list[Tensor]:
        """All tensors of the layer, from all ranks."""
        world_size = dist.get_world_size(self._group)
        whole = self.share.new_empty(world_size * self._share_size)
        dist.all_gather_into_tensor(whole, self.share, group=self._group)
        return [place.of(whole) for place in self._places]


def _tensors(matrices: Sequence[nn.Linear]) -> list[Tensor]:
    return [t for matrix in matrices for t in (matrix.weight, matrix.bias) if t is not None]


@dataclass
class _Matrix:
    """What a linear module does with a weight that it asks for."""

    shards: FrozenShards
    layer: _Layer
    weight: int
    bias: int | None

    def __call__(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self)

    def get(self) -> tuple[Tensor, Tensor | None]:
        tensors = self.shards.whole(self.layer)
        return tensors[self.weight], None if self.bias is None else tensors[self.bias]


class _Product(torch.autograd.Function):
    """``x W^T + b`` that keeps neither ``W`` nor ``x`` for its backward pass; ``W`` is asked for again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: _Matrix) -> Tensor:
        ctx.matrix, ctx.dtype = matrix, x.dtype
        return linear(x, *matrix.get())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight, _ = ctx.matrix.get()
        # Under autocast the output, and so its gradient, has the type that it computed in.
        return (gradient @ weight.to(gradient.dtype)).to(ctx.dtype), None
