"""Overrides from the command line, which must take effect or are refused."""

import inspect
import types
from typing import Any, Union, get_args, get_origin

from mmengine.config import Config

from .flat_config import USED_NAMES, nearest_keys, parameters

#: The two ways to state how long a run is.
_LENGTHS = ('max_iters', 'max_epochs')
_KINDS = {bool: 'True or False', int: 'a number', str: 'text', list: 'a list', dict: 'a group of settings'}


def apply_cfg_options(config: Config, options: dict[str, Any]) -> None:
    """Merge ``--cfg-options`` into a config.

    Three kinds of overrides are refused: of a key that names nothing; of a top-level name that only the
    config file itself used (after inheritance such a name and the dict that holds it are two copies, so
    the override would change nothing); and with a value of another kind than the setting, text for a
    number. A length of the run in iterations replaces one in epochs, and vice versa.

    Args:
        config: Changed in place.
        options: Dotted keys to values.

    Raises:
        ValueError: An override is refused; the message names it and what it may have meant.
    """
    for key, value in options.items():
        node, name, parameter = _find(config, key)
        _check_is_used(key)
        _check_kind(key, value, node, name, parameter)
    config.merge_from_dict(options)
    for key, other in (_LENGTHS, _LENGTHS[::-1]):
        if f'train_cfg.{key}' in options and f'train_cfg.{other}' not in options:
            config.train_cfg.pop(other, None)


def _find(config: Config, key: str) -> tuple[Any, Any, inspect.Parameter | None]:
    """The group of a key, the key's own name in it, and the parameter that it sets."""
    node: Any = config._cfg_dict
    parts: list[Any] = key.split('.')
    for depth, part in enumerate(parts):
        is_last = depth == len(parts) - 1
        parameter = parameters(node, parts[depth - 1] if depth else '').get(part)
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                raise ValueError(
                    f'--cfg-options {key}: {".".join(parts[:depth])} is a list of {len(node)}; '
                    f'{part!r} is not one of its positions.'
                )
            part = int(part)
        elif not isinstance(node, dict) or (part not in node and not (is_last and parameter)):
            raise ValueError(f'--cfg-options {key} names nothing in this config. {_hint(config, key)}')
        if is_last:
            return node, part, parameter
        node = node[part]
    raise AssertionError(key)  # split gives one part at least


def _check_is_used(key: str) -> None:
    name = key.split('.')[0]
    if name not in USED_NAMES:
        raise ValueError(
            f'--cfg-options {key} would change nothing: {name!r} was copied into the places that use it '
            'when the config was read. Override it there; tools/train.py CONFIG --print-config names them.'
        )


def _hint(config: Config, key: str) -> str:
    near = nearest_keys(config, key)
    if not near:
        return 'tools/train.py CONFIG --print-config prints its keys.'
    if len(near) == 1:
        return f'The nearest existing key is {near[0]}.'
    return f'The nearest existing keys are {", ".join(near)}.'


def _check_kind(key: str, value: Any, node: Any, name: Any, parameter: inspect.Parameter | None) -> None:
    """Refuse a value of a kind that neither the present one, nor the parameter's default or type has."""
    given = _kind(value)
    present = node[name] if not isinstance(node, dict) or name in node else None
    wanted = {_kind(present)}
    if parameter is not None:
        wanted |= {_kind(parameter.default), *_annotated(parameter.annotation)}
    wanted.discard(None)
    is_switch = given is int and bool in wanted and value in (0, 1)
    if given is None or not wanted or given in wanted or is_switch:
        return
    needed = ' or '.join(words for kind, words in _KINDS.items() if kind in wanted)
    now = '' if present is None or _kind(present) in (dict, list) else f' (now {present!r})'
    raise ValueError(
        f'--cfg-options {key}={value}: {value!r} is {_KINDS[given]}, but {needed} is needed{now}.'
    )


def _kind(value: Any) -> type | None:
    """What a value is, floats being numbers too; None for what can be anything."""
    if isinstance(value, bool | str | dict):
        return bool if isinstance(value, bool) else str if isinstance(value, str) else dict
    if isinstance(value, int | float):
        return int
    return list if isinstance(value, list | tuple) else None


def _annotated(annotation: Any) -> set[type | None]:
    """Kinds that a type hint names."""
    if get_origin(annotation) in (Union, types.UnionType):
        return {kind for each in get_args(annotation) for kind in _annotated(each)}
    of = {float: int, tuple: list}
    origin = get_origin(annotation) or annotation
    found = of.get(origin, origin) if isinstance(origin, type) else None
    return {found} if found in _KINDS else set()
