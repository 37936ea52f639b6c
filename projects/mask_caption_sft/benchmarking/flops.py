"""The work of one operation, by PyTorch's formulas.

``FlopCounterMode`` itself is not used: it follows modules by hooks on tensors, which keep every recomputed
layer alive until the backward pass is over, and memory is counted at the same time.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def flops_of(function: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> int:
    """FLOPs of an operation that gave a result; 0 for all but products, convolutions and attention."""
    formula = _formulas().get(getattr(function, '_overloadpacket', None))
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=result))


@cache
def _formulas() -> dict[Any, Any]:
    """PyTorch's, which lack attention as it runs on a CPU."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
        },
    ).flop_registry


def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *args, **kwargs) -> int:
    """Two products; shapes are ``[R, heads, L, D]``."""
    rows, heads, length, width = query
    return 2 * rows * heads * length * key[2] * (width + value[3])


def _attention_backward_flops(
    gradient: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *args, **kwargs
) -> int:
    """Five products: the scores again, and the gradients of scores, query, key and value."""
    rows, heads, length, width = query
    return 2 * rows * heads * length * key[2] * (3 * width + 2 * value[3])
