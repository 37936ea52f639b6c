"""LoRA inside the weights that it changes, for as long as captions are written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..ops.precision import autocast_dtype
from .start_weights import adapters_of, without_lora


@contextmanager
def merged_lora(module: nn.Module) -> Iterator[None]:
    """Inside, copies of the layers' weights hold LoRA, in the type that the layers compute in.

    Each token then costs one product per layer in place of three, two casts and a sum. The copies take the
    memory of the layers' weights. In half precision a change of less than half a unit in the last place of
    a weight is lost, which LoRA as a branch of its own would add. For passes without gradient only.

    Args:
        module: In eval mode; nothing else may use its layers meanwhile.
    """
    with without_lora(module, [_merged(adapter) for adapter in adapters_of(module)]):
        yield


def _merged(adapter: Any) -> tuple[nn.Parameter, Tensor]:
    """The weight that an adapter changes, and what it is with the change."""
    parameter = adapter.get_base_layer().weight
    dtype = autocast_dtype(parameter.device) or parameter.dtype
    with torch.no_grad(), torch.autocast(parameter.device.type, enabled=False):
        change = sum(adapter.get_delta_weight(name) for name in adapter.active_adapters)
        return parameter, (parameter.data + change).to(dtype)
