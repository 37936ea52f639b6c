"""What was trained, from whichever kind of file or folder holds it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from .adapter import is_adapter, read_adapter
from .config import read_config
from .key_map import key_map_of
from .released import ReleasedWeights
from .tied_embeddings import with_tied_head
from .trained_tensors import TrainedTensors
from .training_file import check_fingerprint, find_base, read_checkpoint, trained_tensors


@dataclass
class TrainedSource:
    """Trained tensors and the base that they belong to.

    Attributes:
        base: Its directory.
        weights: Its tensors.
        trained: What differs.
        checkpoint: Content of the training checkpoint, for the model card; an adapter's is empty.
    """

    base: str
    weights: ReleasedWeights
    trained: TrainedTensors
    checkpoint: dict[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """A released tensor as it is after training."""
        base = self.weights[name]
        return self.trained.apply(name, base) if name in self.trained.names() else base


def trained_source(
    path: str | Path, base: str | None = None, side: str = 'student', scaling: float = 1.0
) -> TrainedSource:
    """Read a training checkpoint, ours or upstream's, or the folder of an adapter.

    Args:
        path: The file or folder.
        base: The base's directory; None takes the one that is named there.
        side: ``'student'`` or ``'teacher'``; an adapter holds one of them.
        scaling: ``lora_alpha / r`` of an upstream checkpoint.

    Raises:
        FileNotFoundError: It does not exist, or lacks a part.
        ValueError: It is of another base, or cannot be read.
    """
    checkpoint: dict[str, Any] = {}
    if is_adapter(path):
        adapter = read_adapter(path)
        base, trained = adapter.find_base(base), adapter.trained
        weights = ReleasedWeights(base)
        adapter.check(base, weights.fingerprint())
    else:
        checkpoint = read_checkpoint(path)
        base = find_base(checkpoint, base)
        weights = ReleasedWeights(base)
        check_fingerprint(checkpoint, base, weights.fingerprint())
        trained = trained_tensors(checkpoint, side, scaling, key_map_of(read_config(base)))
    trained = with_tied_head(trained, key_map_of(read_config(base)), weights.keys(), str(path))
    return TrainedSource(base, weights, trained, checkpoint)
