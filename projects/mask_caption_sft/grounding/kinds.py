"""Which grounding encoder a checkpoint has."""

from collections.abc import Collection
from typing import Any

from .grounding_kind import GroundingKind
from .sam2 import Sam2
from .sam3 import Sam3

_KINDS: dict[str, type[GroundingKind]] = {kind.key: kind for kind in (Sam2, Sam3)}
#: Where ``config.json`` may name it. Upstream's does not: there the names of the tensors tell.
STATED = 'grounding_encoder'


def grounding_kind_of(config: dict[str, Any], where: str = 'config.json') -> GroundingKind:
    """The grounding encoder of a checkpoint: SAM 2 where its config names none.

    Args:
        config: Content of ``config.json``, as ``read_config`` returns it.
        where: Names the file in messages.

    Raises:
        ValueError: The config names one that is not supported.
    """
    stated = config.get(STATED, Sam2.key)
    if stated not in list(_KINDS):
        known = ' and '.join(f'{kind.key!r} ({kind.name})' for kind in _KINDS.values())
        raise ValueError(f'{where} has {STATED} {stated!r}, which is not supported. Supported are {known}.')
    return _KINDS[stated](config, where)


def state_grounding_kind(config: dict[str, Any], names: Collection[str]) -> None:
    """Name in a config what the tensors of its checkpoint have, where it says nothing itself.

    Upstream's code for SAM 3 differs in its Python files and in the names of the tensors only.

    Args:
        config: Changed in place.
        names: Of the checkpoint's tensors; none where they are not known.
    """
    found = next((kind.key for kind in _KINDS.values() if kind(config, '').is_in(names)), Sam2.key)
    if found != Sam2.key:
        config.setdefault(STATED, found)
