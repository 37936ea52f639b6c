"""Which modules of a model are frozen as a whole."""

from collections.abc import Iterator

from torch import nn


def frozen_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules that have parameters, none of which is trained; none lies within another.

    A module without parameters (dropout for one) is among them only as a part of a larger one.
    """
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        yield module
    elif parameters:
        for child in module.children():
            yield from frozen_modules(child)
