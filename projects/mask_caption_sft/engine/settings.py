"""What is wrong with the settings of a run, before anything is built: later it shows deep in a library."""

from typing import Any

from mmengine.config import Config

from .launch import check_amp, check_base_dtype
from .monitored import check_monitored
from .schedules import check_schedules

#: Whole numbers of at least this.
_WHOLE = {
    'train_dataloader.batch_size': 1,
    'train_dataloader.num_workers': 0,
    'val_dataloader.batch_size': 1,
    'val_dataloader.num_workers': 0,
    'train_cfg.max_iters': 1,
    'train_cfg.val_interval': 1,
    'optim_wrapper.accumulative_counts': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval_updates': 1,
    'default_hooks.early_stopping.patience': 1,
    'model.max_caption_len': 1,
    'model.num_captions': 1,
    'model.predict_captions': 1,
    'model.signal_interval': 1,
}
#: Numbers above zero, or of at least zero.
_ABOVE_ZERO = ('train_cfg.max_epochs', 'optim_wrapper.clip_grad.max_norm')
_NOT_NEGATIVE = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay')


def config_problems(config: Config, base_is_there: bool = True) -> list[str]:
    """What is wrong with the settings of a run that trains; model, data and disk are not looked at.

    Args:
        config: Of the run.
        base_is_there: Whether the types of the base's weights can be read.
    """
    problems = number_problems(config)
    checks = [
        lambda: _check_length(config),
        lambda: _check_validation(config),
        lambda: check_schedules(config.get('param_scheduler')),
        lambda: check_amp(config),
        lambda: check_monitored(config),
    ]
    if base_is_there:
        checks.append(lambda: check_base_dtype(config, trains=True))
    for check in checks:
        try:
            check()
        except (OSError, ValueError) as error:
            problems.append(str(error))
    return problems


def number_problems(config: Config) -> list[str]:
    """Settings that are not numbers, or too small; one that is left out, or None, has its default."""
    problems = []
    for key, least in _WHOLE.items():
        value = setting(config, key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            problems.append(f'{key}={value!r} is not a whole number of at least {least}. Set it to one.')
    for key in (*_ABOVE_ZERO, *_NOT_NEGATIVE):
        value = setting(config, key)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or (value == 0 and key in _ABOVE_ZERO):
            range_ = 'above 0' if key in _ABOVE_ZERO else 'of at least 0'
            problems.append(f'{key}={value!r} is not a number {range_}. Set it to one.')
    return problems


def setting(config: Config, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    node: Any = config._cfg_dict
    for part in key.split('.'):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _check_validation(config: Config) -> None:
    names = ('val_dataloader', 'val_cfg', 'val_evaluator')
    absent = [name for name in names if config.get(name) is None]
    if absent and len(absent) < len(names):
        there = [name for name in names if name not in absent]
        raise ValueError(
            f'{", ".join(absent)} is None and {", ".join(there)} is not. Set all three to None for a run '
            'without validation, or none of them.'
        )


def _check_length(config: Config) -> None:
    train = config.get('train_cfg') or {}
    if (train.get('max_iters') is None) == (train.get('max_epochs') is None):
        raise ValueError('Set either train_cfg.max_iters or train_cfg.max_epochs (the other to None).')
