"""MMEngine's optimizer constructor, which says what it made in a few lines."""

import logging
from collections import Counter

from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn


class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """As its parent; with ``paramwise_cfg`` that logs a line or more per tensor, frozen ones too."""

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The optimizer wrapper; logs trained tensors and parameters by learning rate and weight decay."""
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            wrapper = super().__call__(model)
        finally:
            logger.setLevel(level)
        print_log(describe_groups(wrapper), 'current')
        return wrapper


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
