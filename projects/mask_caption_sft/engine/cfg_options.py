"""Overrides from the command line that must take effect, or are refused."""

import difflib
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config


def apply_cfg_options(config: Config, options: dict[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config.

    Refused are a key that names nothing, and a top-level name that only the
    config file itself used: after inheritance such a name and the dict that
    holds it are two copies, so the override would change nothing.

    Args:
        config: Changed in place.
        options: Dotted keys to values.

    Raises:
        ValueError: Names the key and the nearest existing one.
    """
    for key in options:
        _check_exists(config, key)
        _check_is_used(key)
    config.merge_from_dict(options)


#: Top-level names that the Runner and our tools read; any other is a helper of its config file.
USED_NAMES = frozenset({
    'auto_scale_lr', 'custom_hooks', 'default_hooks', 'default_scope', 'env_cfg', 'experiment_name',
    'launcher', 'load_from', 'log_level', 'log_processor', 'model', 'model_wrapper_cfg', 'optim_wrapper',
    'param_scheduler', 'randomness', 'resume', 'test_cfg', 'test_dataloader', 'test_evaluator', 'train_cfg',
    'train_dataloader', 'val_cfg', 'val_dataloader', 'val_evaluator', 'visualizer', 'work_dir', 'sync_bn',
})  # fmt: skip


def _check_exists(config: Config, key: str) -> None:
    node: Any = config
    parts = key.split('.')
    for depth, part in enumerate(parts):
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise ValueError(
                    f'--cfg-options {key}: {".".join(parts[:depth])} is a list of {len(node)}; '
                    f'{part!r} is not one of its positions.'
                )
            node = node[int(part)]
            continue
        known_argument = depth == len(parts) - 1 and isinstance(node, dict) and _takes(node, part)
        if (not isinstance(node, dict) and not isinstance(node, Config)) or part not in node:
            if known_argument:
                return
            raise ValueError(f'--cfg-options {key} names nothing in this config. {_nearest(config, key)}')
        node = node[part]


def _takes(node: dict, argument: str) -> bool:
    """Whether the object that a config dict builds has a parameter of that name."""
    import inspect

    target = node.get('type')
    if not callable(target):
        return False
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False
    return argument in parameters


def _check_is_used(key: str) -> None:
    name = key.split('.')[0]
    if name not in USED_NAMES:
        raise ValueError(
            f'--cfg-options {key} would change nothing: {name!r} was copied into the places that use it '
            'when the config was read. Override it there; print them with --dry-run.'
        )


def _nearest(config: Config, key: str) -> str:
    keys = list(_keys(config._cfg_dict, ''))
    matches = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    return f'The nearest existing key is {matches[0]}.' if matches else ''


def _keys(node: Any, prefix: str) -> Iterator[str]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        key = f'{prefix}{name}'
        yield key
        if isinstance(value, (dict, list, tuple)):
            yield from _keys(value, f'{key}.')
