"""Whether two checkpoints hold the same training, bit for bit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.training_file import read_checkpoint

#: Student and teacher; moments, steps and learning rates; the next draw. Logs hold times and are left out.
_PARTS = ('state_dict', 'optimizer')


def differences(path: str | Path, other: str | Path) -> list[str]:
    """Names of what is not the same in two training checkpoints; none if one run could stand for the other.

    Every tensor and number of student, teacher and optimizer is compared by its bits, so that -0 is not 0
    and NaN is NaN, and the number of draws that have been used up.
    """
    mine, theirs = (training_state(read_checkpoint(file)) for file in (path, other))
    names = [*mine, *(name for name in theirs if name not in mine)]
    return [
        name
        for name in names
        if name not in mine or name not in theirs or not is_same(mine[name], theirs[name])
    ]


def training_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What training goes on from, by dotted name; leaves are tensors and plain values."""
    parts = {part: checkpoint[part] for part in _PARTS}
    return dict(_leaves(parts | {'draws': checkpoint['meta'].get('draws', {}).get('done')}, ''))


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        children: Any = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    else:
        yield name, node
        return
    for key, child in children:
        yield from _leaves(child, f'{name}.{key}' if name else str(key))


def is_same(value: Any, other: Any) -> bool:
    """Bit-equal, for two tensors; equal and of one type, for two plain values."""
    if not isinstance(value, Tensor) or not isinstance(other, Tensor):
        return type(value) is type(other) and bool(value == other)
    if value.dtype != other.dtype or value.shape != other.shape:
        return False
    return torch.equal(_bytes(value), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
