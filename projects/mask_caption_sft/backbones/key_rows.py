"""Rows of a key table that change a tensor's shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Layout(Protocol):
    """How several native tensors lie in a released one."""

    def cut(self, tensor: Tensor, count: int) -> list[Tensor]:
        """The ``count`` native tensors of a released one."""

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The released tensor of its native ones."""


@dataclass(frozen=True)
class EqualParts:
    """One after the other along dimension 0, all of the same height."""

    def cut(self, tensor: Tensor, count: int) -> list[Tensor]:
        """The parts."""
        return list(tensor.chunk(count)) if count > 1 else [tensor]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The whole."""
        return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


EQUAL_PARTS = EqualParts()


@dataclass(frozen=True)
class Fused:
    """A released tensor that holds several native ones, or one that lies in it otherwise.

    Attributes:
        released: Its name, with the wildcards of checkpoints/key_map.py.
        native: Names of the parts.
        layout: How they lie in it.
    """

    released: str
    native: tuple[str, ...]
    layout: Layout = EQUAL_PARTS
