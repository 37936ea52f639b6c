"""A config names its base once; the sizes of its data follow from it."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..checkpoints.config import read_config
from ..datasets.transforms import PackRegions
from ..sa2va.base_sizes import BaseSizes, base_sizes
from ..sa2va.released_sizes import stand_in_config, stand_in_name

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def follow_base(config: Config) -> None:
    """Write the sizes of ``model.sa2va.base`` into every ``PackRegions`` of the config.

    A base that cannot be read is no error here; whatever builds the model will refuse it. The data can be
    looked at without it, and then has the sizes of the released checkpoint that the base is named after, else
    of Sa2VA-4B. A model without a base (one that is trained from scratch) leaves every size to the config.

    Args:
        config: Changed in place.

    Raises:
        ValueError: A ``PackRegions`` states a size other than the base's; the message names all that do.
    """
    model = config.get('model', {}).get('sa2va', {})
    if 'base' not in model:
        return
    try:
        sizes, where = base_sizes(read_config(model['base'])), f'{model["base"]}/config.json'
    except (OSError, ValueError) as error:
        name = stand_in_name(model['base'])
        print_log(f'{error} For now, images have the sizes of {name}.', 'current', logging.WARNING)
        sizes, where = base_sizes(stand_in_config(model['base'])), None
    problems = []
    for loader in _LOADERS:
        for key, transform in packers(config.get(loader), loader):
            problems += _fill_in(transform, key, sizes, where)
    if problems:
        raise ValueError('\n'.join(problems))


def packers(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every declared ``PackRegions`` below a part of a config, with its key."""
    return declared(node, key, PackRegions)


def declared(node: Any, key: str, kind: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every declaration of a class or its children below a part of a config, with its key."""
    children: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        if _is_a(node.get('type'), kind):
            yield key, node
        children = list(node.items())
    elif isinstance(node, list | tuple):
        children = list(enumerate(node))
    for name, child in children:
        yield from declared(child, f'{key}.{name}', kind)


def _is_a(stated: Any, kind: type) -> bool:
    if isinstance(stated, str):  # in a config that was written to a file
        return stated.split('.')[-1] == kind.__name__
    return isinstance(stated, type) and issubclass(stated, kind)


def _fill_in(transform: dict[str, Any], key: str, sizes: BaseSizes, where: str | None) -> list[str]:
    """Set the sizes that are left open; returns a problem for each stated one that is not the base's."""
    problems = []
    for name in PackRegions.SIZES:
        stated, needed = transform.get(name), asdict(sizes)[name]
        if stated is None:
            transform[name] = needed
        elif where is not None and stated != needed:
            problems.append(
                f'{key}.{name}={stated}, but {where} says {needed}. Leave it out: it follows from '
                'model.sa2va.base.'
            )
    return problems
