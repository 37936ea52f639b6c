"""Training checkpoints as files: ours, and upstream's."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.loading import ReleasedWeights, load_native, native_tensors
from ..models.sa2va import Sa2VA
from ..models.trained_tensors import TrainedTensors, from_ours, from_upstream
from .launch import allow_checkpoint_globals


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Content of a ``.pth``, with tensors and plain values only.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is truncated, or holds anything that would run code.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist.')
    allow_checkpoint_globals()
    try:
        content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f'{path} cannot be read as a checkpoint ({first_line}).') from error
    if 'state_dict' not in content:
        content = {'state_dict': content}
    return content


def is_ours(checkpoint: dict[str, Any]) -> bool:
    """Whether it is a checkpoint of :class:`MaskCaptionSFT`; otherwise it is read as upstream's."""
    return any(name.startswith('teacher.') for name in checkpoint['state_dict'])


def trained_tensors(checkpoint: dict[str, Any], side: str, scaling: float) -> TrainedTensors:
    """What a checkpoint changes.

    Args:
        checkpoint: From :func:`read_checkpoint`.
        side: ``'student'`` or ``'teacher'``; upstream's checkpoints have a student only.
        scaling: ``lora_alpha / r`` of an upstream checkpoint; ours hold their own.

    Raises:
        ValueError: A teacher is wanted where there is none.
    """
    if is_ours(checkpoint):
        own = checkpoint['meta'].get('sa2va', {})
        return from_ours(checkpoint['state_dict'], side, own.get('lora_scaling'))
    if side == 'teacher':
        raise ValueError('This is an upstream checkpoint; it has no teacher. Leave out --teacher.')
    return from_upstream(checkpoint['state_dict'], scaling)


def find_base(checkpoint: dict[str, Any], given: str | None) -> str:
    """The base directory: the one given, or the one the checkpoint names.

    Raises:
        ValueError: Neither is there.
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


def load_trained(path: str | Path, base: str | None = None, side: str = 'student', **kwargs: Any) -> Sa2VA:
    """A model with what was trained merged in, as the export would write it.

    Args:
        path: Directory in the released layout, or a checkpoint of ours.
        base: See :func:`find_base`.
        side: ``'student'`` or ``'teacher'``.
        kwargs: See :class:`Sa2VA`.
    """
    if Path(path).is_dir():
        return Sa2VA(path, **kwargs)
    checkpoint = read_checkpoint(path)
    base = find_base(checkpoint, base)
    model, weights = Sa2VA(base, **kwargs), ReleasedWeights(base)
    check_fingerprint(checkpoint, base, weights.fingerprint())
    trained = trained_tensors(checkpoint, side, scaling=1.0)

    def read(name: str) -> Tensor:
        return trained.apply(name, weights[name]) if name in trained.names() else weights[name]

    load_native(model, native_tensors(weights.keys(), read, str(path)), str(path))
    model.remember_start()
    return model
