"""MMEngine's optimizer constructor, with one parameter group per learning rate and weight decay."""

import logging
from collections import Counter
from typing import Any

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn
from torch.optim import Optimizer


class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, with the trained tensors that have the same settings in one group.

    With ``paramwise_cfg`` the parent makes one group per tensor, frozen ones included, and logs lines
    for each. Shared groups let the optimizer update their tensors together, and a schedule sets two
    learning rates instead of two thousand.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimizer wrapper; logs trained tensors and parameters by learning rate and weight decay."""
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            wrapper = super().__call__(model)
        finally:
            logger.setLevel(level)
        merge_groups(wrapper.optimizer)
        print_log(describe_groups(wrapper), 'current')
        return wrapper


def merge_groups(optimizer: Optimizer) -> None:
    """Put the trained tensors with the same settings into one group; frozen ones are left out."""
    merged: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        trained = [parameter for parameter in group['params'] if parameter.requires_grad]
        settings = {key: value for key, value in group.items() if key != 'params'}
        # MMEngine adds a custom key's multipliers to its group, so groups need not have the same settings.
        same = [other for other in merged if {**other, 'params': None} == {**settings, 'params': None}]
        if same:
            same[0]['params'] += trained
        elif trained:
            merged.append({'params': trained, **settings})
    optimizer.param_groups[:] = merged


def describe_groups(wrapper: OptimWrapper) -> str:
    """One line per learning rate and weight decay."""
    tensors: Counter[tuple[float, float]] = Counter()
    parameters: Counter[tuple[float, float]] = Counter()
    for group in wrapper.optimizer.param_groups:
        key = (group['lr'], group.get('weight_decay', 0.0))
        trained = [parameter for parameter in group['params'] if parameter.requires_grad]
        tensors[key] += len(trained)
        parameters[key] += sum(parameter.numel() for parameter in trained)
    lines = [
        f'  lr {lr:g}, weight decay {decay:g}: {tensors[lr, decay]:,} tensors, '
        f'{parameters[lr, decay]:,} parameters'
        for lr, decay in tensors
    ]
    return '\n'.join(['Trained:', *lines])
