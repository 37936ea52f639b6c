"""The names of upstream's training checkpoints."""

from pathlib import Path

from torch import Tensor

from .adapter import is_adapter
from .config import read_config
from .released import ReleasedWeights
from .source import trained_source
from .tied_embeddings import EMBEDDINGS, HEAD, is_tied
from .trained_tensors import LORA_TARGETS, released_to_upstream

#: Upstream's trainers, and the modules whose names LoRA has changed when each loads its ``pretrained_pth``:
#: v1 (``projects/llava_sam2``) wraps its language model first, v2 (``projects/sa2va``) afterwards.
TRAINERS: dict[str, list[str] | None] = {'v1': LORA_TARGETS, 'v2': None}


def upstream_state(model_dir: str | Path, trainer: str = 'v1', base: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a released checkpoint, named as upstream's trainer has it when it loads the file.

    Both trainers load with ``strict=False``: a name they do not have is silently ignored.

    Args:
        model_dir: Directory in the released layout, or of an adapter.
        trainer: A key of ``TRAINERS``. The names of ``'v2'`` are also those of a v1 without LoRA.
        base: Of an adapter, where it does not name a directory.
    """
    tensors: dict[str, Tensor]
    if is_adapter(model_dir):
        source = trained_source(model_dir, base)
        config, tensors = read_config(source.base), {name: source.read(name) for name in source.weights}
    else:
        config, tensors = read_config(model_dir), dict(ReleasedWeights(model_dir).items())
    if is_tied(config):
        tensors[HEAD] = tensors[EMBEDDINGS]  # the trainer has the one matrix under both names
    return {released_to_upstream(name, TRAINERS[trainer]): tensor for name, tensor in tensors.items()}
