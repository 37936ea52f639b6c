"""The names of upstream's training checkpoints."""

from pathlib import Path

from torch import Tensor

from .config import read_config
from .released import ReleasedWeights
from .trained_tensors import LORA_TARGETS, released_to_upstream


def upstream_state(model_dir: str | Path, with_lora: bool = True) -> dict[str, Tensor]:
    """Every tensor of a released checkpoint, named as upstream's trainer names it.

    Args:
        model_dir: Directory in the released layout.
        with_lora: That trainer wraps its language model with LoRA.
    """
    read_config(model_dir)
    weights = ReleasedWeights(model_dir)
    targets = LORA_TARGETS if with_lora else None
    return {released_to_upstream(name, targets): tensor for name, tensor in weights.items()}
