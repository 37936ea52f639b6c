"""A Sa2VA with the weights of a training checkpoint."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints.released import ReleasedWeights, native_tensors
from ..checkpoints.tied_embeddings import with_tied_head
from ..checkpoints.training_file import check_fingerprint, find_base, read_checkpoint, trained_tensors
from .sa2va import Sa2VA


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
    trained = trained_tensors(checkpoint, side, 1.0, model.key_map)
    trained = with_tied_head(trained, model.key_map, weights.keys(), str(path))

    def read(name: str) -> Tensor:
        return trained.apply(name, weights[name]) if name in trained.names() else weights[name]

    model.replace_weights(native_tensors(weights.keys(), read, model.key_map, str(path)), str(path))
    return model
