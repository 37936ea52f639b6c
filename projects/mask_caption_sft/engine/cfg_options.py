"""Overrides from the command line, which must take effect or are refused."""

import difflib
import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.utils import get_object_from_string
from peft import LoraConfig

from ..loop.segmentation_losses import SegmentationLosses
from ..sa2va.generation import Sampling
from ..sa2va.sa2va import Sa2VA


def apply_cfg_options(config: Config, options: dict[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config.

    Two kinds of keys are refused: one that names nothing, and a top-level name that only the
    config file itself used. After inheritance such a name and the dict that holds it are two
    copies, so the override would change nothing. A length of the run in iterations replaces
    one in epochs, and vice versa.

    Args:
        config: Changed in place.
        options: Dotted keys to values.

    Raises:
        ValueError: A key is refused; the message names it and the nearest existing one.
    """
    for key in options:
        _check_exists(config, key)
        _check_is_used(key)
    config.merge_from_dict(options)
    for key, other in (_LENGTHS, _LENGTHS[::-1]):
        if f'train_cfg.{key}' in options and f'train_cfg.{other}' not in options:
            config.train_cfg.pop(other, None)


#: The two ways to state how long a run is.
_LENGTHS = ('max_iters', 'max_epochs')

#: Top-level names that the Runner and our tools read; any other is a helper of its config file.
USED_NAMES = frozenset({
    'auto_scale_lr', 'custom_hooks', 'default_hooks', 'default_scope', 'env_cfg', 'experiment_name',
    'launcher', 'load_from', 'log_level', 'log_processor', 'model', 'model_wrapper_cfg', 'optim_wrapper',
    'param_scheduler', 'randomness', 'resume', 'test_cfg', 'test_dataloader', 'test_evaluator', 'train_cfg',
    'train_dataloader', 'val_cfg', 'val_dataloader', 'val_evaluator', 'visualizer', 'work_dir', 'sync_bn',
})  # fmt: skip


#: What builds a dict that has no ``type`` of its own, by the dict's key.
_DEFAULT_TYPES: dict[str, Any] = {
    'sa2va': Sa2VA,
    'lora': LoraConfig,
    'sampling': Sampling,
    'segmentation_losses': SegmentationLosses,
}


def _check_exists(config: Config, key: str) -> None:
    node: Any = config._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise ValueError(
                    f'--cfg-options {key}: {".".join(parts[:depth])} is a list of {len(node)}; '
                    f'{part!r} is not one of its positions.'
                )
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        elif (
            isinstance(node, dict) and depth == len(parts) - 1 and part in _arguments(node, parts[depth - 1])
        ):
            return
        else:
            raise ValueError(f'--cfg-options {key} names nothing in this config. {_nearest(config, key)}')


def _arguments(node: dict, name: str) -> set[str]:
    """Parameters of what a config dict builds; with ``**kwargs``, those of its base classes too."""
    target = node.get('type') or _DEFAULT_TYPES.get(name)
    if isinstance(target, str):
        target = get_object_from_string(target) if '.' in target else None
    found: set[str] = set()
    for owner in inspect.getmro(target) if inspect.isclass(target) else [target]:
        function = vars(owner).get('__init__') if inspect.isclass(owner) else owner
        if not inspect.isfunction(function):
            continue
        parameters = inspect.signature(function).parameters.values()
        found |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return found - {'self'}


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
