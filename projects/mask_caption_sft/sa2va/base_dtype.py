"""The frozen base in half precision, what is trained in float32.

Autocast casts the weights of linear layers and convolutions anew in every call, unless they are in half
precision already. Those are nearly all of a base's bytes, and only those, with the tables of embeddings, are
held in the base's type. Everything else (norms, layer scales, positions) stays in float32, and so does the
residual stream. A base stored in bfloat16 thus computes under autocast exactly what it computes when it is
held in float32.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..ops.precision import at_least_float32

#: ``'released'``: as the checkpoint stores each of them.
CHOICES = ('released', 'float32', 'bfloat16')
#: Layers that autocast runs in half precision whatever their weights are, and look-ups.
_KEPT = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)

#: What is refused, and the setting that would do.
NEEDS_AUTOCAST = (
    "The base's weights are in half precision (model.sa2va.base_dtype), which needs bf16 autocast, but {} "
    "runs without. Set {}, or model.sa2va.base_dtype='float32'."
)
AMP_SETTING = "optim_wrapper=dict(type=GuardedAmpOptimWrapper, dtype='bfloat16', loss_scale=1.0, ...)"


def frozen_dtype(base_dtype: str, config: dict[str, Any] | None) -> torch.dtype | None:
    """The type that a choice stands for; None for that of each stored tensor.

    Args:
        base_dtype: One of ``CHOICES``.
        config: ``config.json`` of a model without a file, whose statement then counts.

    Raises:
        ValueError: It is none of them.
    """
    if base_dtype not in CHOICES:
        raise ValueError(f'base_dtype={base_dtype!r} is not one of {", ".join(map(repr, CHOICES))}.')
    if base_dtype == 'released' and config is None:
        return None
    given = config or {}
    stated = given.get('torch_dtype', given.get('dtype', 'float32'))  # its name since transformers 4.56
    return getattr(torch, stated if base_dtype == 'released' else base_dtype)


def set_dtypes(model: nn.Module, frozen: torch.dtype | None, exact: Sequence[nn.Module] = ()) -> None:
    """Trained tensors become float32 and the model's own; frozen ones get their type, see above.

    A frozen tensor that has its type already stays what it is, for one a part of a mapped file.

    Args:
        model: Its parameters are as the checkpoint stores them.
        frozen: From :func:`frozen_dtype`.
        exact: Modules that compute outside autocast, and so in float32.
    """
    for module in model.modules():
        is_kept = isinstance(module, _KEPT) and not any(module is other for other in exact)
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32, copy=True)
            else:
                dtype = (frozen or parameter.dtype) if is_kept else torch.float32
                parameter.data = parameter.data.to(dtype)


def float32_embeddings(embeddings: nn.Module) -> None:
    """Make embeddings float32: the residual stream has the type of what it begins with."""
    embeddings.register_forward_hook(_at_least_float32)


def _at_least_float32(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return at_least_float32(output)


def has_half_precision(model: nn.Module) -> bool:
    """Whether some weights are in half precision, so that the model runs under autocast only."""
    return any(p.dtype in (torch.bfloat16, torch.float16) for p in model.parameters())
