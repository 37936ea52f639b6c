"""Where half precision is not enough, and how passes without gradient leave autocast's cache alone."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay as they are."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def is_bfloat16_autocast(device: torch.device) -> bool:
    """Whether what runs on this device now runs under bf16 autocast."""
    kind = device.type
    return torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16


@contextmanager
def without_gradient() -> Iterator[None]:
    """``torch.no_grad()`` that neither reads nor fills autocast's cache of cast weights; also a decorator.

    Autocast keeps the half-precision copy of a trained weight for the whole step. On torch 2.10 and
    older a copy made in a pass without gradient has no graph, and every later pass of the step that reuses it
    gives the weight no gradient, without a word (mended in pytorch#165068). On every version the
    cache answers with the old value after a weight's ``data`` has been exchanged.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for device in ('cpu', 'cuda'):
            if torch.is_autocast_enabled(device):
                dtype = torch.get_autocast_dtype(device)
                stack.enter_context(torch.autocast(device, dtype, cache_enabled=False))
        yield


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in on a device; None where it is off."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)
