"""Training checkpoints as files: ours, and upstream's."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray as numpy_core  # where NumPy 2 keeps what pickles refer to

from .key_map import KeyMap
from .trained_tensors import TrainedTensors, from_ours, from_upstream


class _UnreadLog:
    """Stands in for MMEngine's ``HistoryBuffer``, which upstream's checkpoints hold and we do not read."""


def _unread_method(owner: type, name: str) -> None:
    """Stands in for ``getattr``, with which a ``HistoryBuffer`` is stored with its statistics."""


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read the NumPy arrays and scalars that MMEngine stores.

    Nothing that could run code is allowed; the check stays on for files from elsewhere.
    """
    names: list = [np.ndarray, np.dtype]
    names += [type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', 'u1', '?')]
    for function in (numpy_core.scalar, numpy_core._reconstruct):
        names += [function, (function, f'numpy.core.multiarray.{function.__name__}')]  # NumPy 2, NumPy 1
    torch.serialization.add_safe_globals(names)


def read_checkpoint(path: str | Path, mmap: bool = True) -> dict[str, Any]:
    """Content of a ``.pth``: tensors and plain values only, and nothing from the logs in upstream's files.

    Args:
        path: The file.
        mmap: Map the tensors instead of reading them; for a file that stays as long as they are used.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The path is a folder, as DeepSpeed writes them; or the file is truncated, or
            holds anything that would run code.
    """
    if Path(path).is_dir():
        raise ValueError(
            f'{path} is a folder, not a file; DeepSpeed writes such checkpoints. Join it into one file with '
            'zero_to_fp32.py, which DeepSpeed leaves beside it, and give that file.'
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist.')
    allow_checkpoint_globals()
    log: list = [
        (_UnreadLog, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_unread_method, 'builtins.getattr'),
    ]
    try:
        with torch.serialization.safe_globals(log):
            content = torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged or hostile file makes torch raise nearly anything
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f'{path} cannot be read as a checkpoint ({first_line}).') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds a {type(content).__name__}, not a checkpoint.')
    if 'state_dict' not in content:
        content = {'state_dict': content}
    return content


def is_ours(checkpoint: dict[str, Any]) -> bool:
    """Whether it is a checkpoint of :class:`MaskCaptionSFT`; otherwise it is read as upstream's."""
    return any(name.startswith('teacher.') for name in checkpoint['state_dict'])


def trained_tensors(checkpoint: dict[str, Any], side: str, scaling: float, key_map: KeyMap) -> TrainedTensors:
    """What a checkpoint changes.

    Args:
        checkpoint: From :func:`read_checkpoint`.
        side: ``'student'`` or ``'teacher'``; upstream's checkpoints have a student only.
        scaling: ``lora_alpha / r`` of an upstream checkpoint; ours hold their own.
        key_map: Of the base.

    Raises:
        ValueError: A teacher is wanted where there is none.
    """
    if is_ours(checkpoint):
        own = checkpoint['meta'].get('sa2va', {})
        return from_ours(checkpoint['state_dict'], side, own.get('lora_scaling'), key_map)
    if side == 'teacher':
        raise ValueError('This is an upstream checkpoint; it has no teacher. Leave out --teacher.')
    return from_upstream(checkpoint['state_dict'], scaling)


def find_base(checkpoint: dict[str, Any], given: str | None) -> str:
    """The base directory: the one given, or the one the checkpoint names.

    Raises:
        ValueError: No base is given, and the checkpoint names none.
    """
    base = given or checkpoint.get('meta', {}).get('sa2va', {}).get('base')
    if not base:
        raise ValueError('The checkpoint does not name its base. Give it with --base.')
    return base


def check_fingerprint(checkpoint: dict[str, Any], base: str, found: str) -> None:
    """Raise ``ValueError`` if the checkpoint was trained on a base with other weights."""
    wanted = checkpoint.get('meta', {}).get('sa2va', {}).get('fingerprint')
    if wanted and wanted != found:
        raise ValueError(
            f'The checkpoint was trained on another base: fingerprint {wanted[:12]}, but {base} has '
            f'{found[:12]}. Give the base it started from with --base.'
        )
