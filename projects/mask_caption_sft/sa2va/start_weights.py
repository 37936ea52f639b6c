"""The model before training, inside the model in training: what ``loss_kl`` compares with, and what
:class:`InterpolateHook` goes back to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


def adapters_of(module: nn.Module) -> list[Any]:
    """The layers that carry LoRA."""
    return [m for m in module.modules() if isinstance(m, BaseTunerLayer)]


@contextmanager
def without_lora(module: nn.Module, values: Sequence[tuple[nn.Parameter, Tensor]]) -> Iterator[None]:
    """Inside, ``module`` has no LoRA, and some parameters these values; for passes without gradient only."""
    adapters = adapters_of(module)
    before = [(parameter, parameter.data) for parameter, _ in values]
    try:
        for adapter in adapters:
            adapter.enable_adapters(False)
        for parameter, value in values:
            parameter.data = value
        yield
    finally:
        for parameter, value in before:
            parameter.data = value
        for adapter in adapters:
            adapter.enable_adapters(True)


class StartWeights:
    """Copies of a module's trained weights, except LoRA, as they are now.

    They stay outside the state dict: a resumed run reads them from the base again.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tensors = {
            name: parameter.detach().clone()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad and 'lora_' not in name
        }

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move or cast the copies, as ``nn.Module._apply`` does with parameters."""
        self._tensors = {name: function(tensor) for name, tensor in self._tensors.items()}

    @property
    def num_bytes(self) -> int:
        """What the copies take."""
        return sum(tensor.nbytes for tensor in self._tensors.values())

    @contextmanager
    def swapped_in(self, module: nn.Module) -> Iterator[None]:
        """Inside, ``module`` has these weights and LoRA is off.

        For passes without gradient only: a recomputation after leaving would run
        with the wrong weights.
        """
        parameters = dict(module.named_parameters())
        with without_lora(module, [(parameters[name], tensor) for name, tensor in self._tensors.items()]):
            yield

    @torch.no_grad()
    def interpolate(self, module: nn.Module, share: float) -> None:
        """Leave of what training changed this share: ``start + share * (trained - start)``.

        LoRA adds the product of two matrices to a weight; the second, which starts at zero, is scaled.

        Args:
            module: What the copies are of, or the teacher's copy of it.
            share: In [0, 1].
        """
        parameters = dict(module.named_parameters())
        for name, tensor in self._tensors.items():
            parameters[name].lerp_(tensor, 1 - share)
        for name, parameter in parameters.items():
            if 'lora_B' in name:
                parameter.mul_(share)
