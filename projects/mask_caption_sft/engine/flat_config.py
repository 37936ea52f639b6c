"""A config as dotted keys with their values: to print, to compare, and to find what a mistyped key meant."""

import difflib
import inspect
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mmengine.config import Config
from mmengine.utils import get_object_from_string
from peft import LoraConfig

from ..loop.segmentation_losses import SegmentationLosses
from ..sa2va.generation import Sampling
from ..sa2va.sa2va import Sa2VA

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
#: Below this likeness two keys have nothing to do with each other.
_ALIKE = 0.6


def flat(config: Config) -> dict[str, str]:
    """``{'train_dataloader.batch_size': '6', ...}`` of the names that a run uses, in the config's order."""
    used = {name: value for name, value in config._cfg_dict.items() if name in USED_NAMES}
    return {key: as_text(value) for key, value in _entries(used, '') if not _is_group(value)}


def print_config(config: Config) -> str:
    """One line per key, as ``--cfg-options`` takes them."""
    return '\n'.join(f'{key}={value}' for key, value in flat(config).items())


def config_diff(ours: Config, other: Config) -> str:
    """What differs, by dotted key: lines ``- key=value`` of the first, ``+ key=value`` of the other."""
    left, right = flat(ours), flat(other)
    lines = []
    for key in [*left, *(key for key in right if key not in left)]:
        if left.get(key) != right.get(key):
            lines += [f'- {key}={left[key]}'] if key in left else []
            lines += [f'+ {key}={right[key]}'] if key in right else []
    return '\n'.join(lines) or 'No difference in what a run uses.'


def as_text(value: Any) -> str:
    """A value as a person writes it: a class by its full name."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return f'{value.__module__}.{value.__qualname__}'
    return value if isinstance(value, str) else repr(value)


def _is_group(value: Any) -> bool:
    """Whether a value has keys of its own: a dict with any, or a list that holds dicts."""
    if isinstance(value, dict):
        return len(value) > 0
    return isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value)


def _entries(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every key below a group, with its value, groups included."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, value in items:
        yield f'{prefix}{name}', value
        if _is_group(value):
            yield from _entries(value, f'{prefix}{name}.')


def parameters(node: Any, name: str) -> dict[str, inspect.Parameter]:
    """Parameters of what a config dict builds; with ``**kwargs``, those of its base classes too.

    Args:
        node: The dict; anything else has none.
        name: Its own key, which tells what builds it where it has no ``type``.
    """
    if not isinstance(node, dict):
        return {}
    target = node.get('type') or _DEFAULT_TYPES.get(name)
    if isinstance(target, str):
        target = get_object_from_string(target) if '.' in target else None
    found: dict[str, inspect.Parameter] = {}
    for owner in inspect.getmro(target) if inspect.isclass(target) else [target]:
        function = vars(owner).get('__init__') if inspect.isclass(owner) else owner
        if not inspect.isfunction(function):
            continue
        own = inspect.signature(function).parameters.values()
        found = {p.name: p for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} | found
        if not any(p.kind == p.VAR_KEYWORD for p in own):
            break
    found.pop('self', None)
    return found


def nearest_keys(config: Config, key: str, most: int = 3) -> list[str]:
    """The existing keys that a mistyped one may mean, the likeliest first; arguments at their default too.

    The last component counts most: ``lr`` is ``optim_wrapper.optimizer.lr``, whatever is around it.
    """
    used = {name: value for name, value in config._cfg_dict.items() if name in USED_NAMES}
    entries = list(_entries(used, ''))
    keys = [name for name, _ in entries]
    for name, value in entries:
        keys += [f'{name}.{p}' for p in parameters(value, name.split('.')[-1]) if p not in value]
    scores = {name: _likeness(key, name) for name in keys}
    ranked = sorted(scores, key=lambda name: (-scores[name], name.startswith('test_'), name.count('.')))
    return [name for name in ranked[:most] if scores[name] >= max(_ALIKE, scores[ranked[0]] - 0.02)]


def _likeness(wanted: str, existing: str) -> float:
    """In [0, 1]: the last components count 0.6, the others, wherever they are, 0.4."""
    *where, last = wanted.split('.')
    *around, name = existing.split('.')
    found = [max((_ratio(part, other) for other in around), default=0.0) for part in where]
    place = sum(found) / len(found) if found else 1.0
    return 0.6 * _ratio(last, name) + 0.4 * place


@lru_cache(maxsize=100_000)
def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
