"""A Sa2VA with the weights of a training checkpoint."""

from pathlib import Path
from typing import Any

from ..checkpoints.adapter import is_adapter
from ..checkpoints.released import native_tensors
from ..checkpoints.source import TrainedSource, trained_source
from .sa2va import Sa2VA


def load_trained(path: str | Path, base: str | None = None, side: str = 'student', **kwargs: Any) -> Sa2VA:
    """A model with what was trained merged in, as the export would write it.

    Args:
        path: Directory in the released layout or of an adapter, or a checkpoint of ours.
        base: See :func:`trained_source`.
        side: ``'student'`` or ``'teacher'``.
        kwargs: See :class:`Sa2VA`.
    """
    if Path(path).is_dir() and not is_adapter(path):
        return Sa2VA(path, **kwargs)
    source = trained_source(path, base, side)
    model = Sa2VA(source.base, **kwargs)
    take_trained(model, source, str(path))
    return model


def take_trained(model: Sa2VA, source: TrainedSource, where: str) -> None:
    """Give a model of the base what was trained, merged into its weights; its own LoRA is left alone.

    Args:
        model: Of ``source.base``.
        source: What was trained.
        where: Names it in messages.
    """
    model.replace_weights(native_tensors(source.weights.keys(), source.read, model.key_map, where), where)
