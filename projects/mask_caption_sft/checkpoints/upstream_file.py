"""The names of upstream's training checkpoints."""

from pathlib import Path

from torch import Tensor

from .config import read_config
from .key_map import key_map_of
from .released import ReleasedWeights
from .tied_embeddings import embeddings_and_head
from .trained_tensors import released_to_upstream

#: Upstream's trainers, and whether LoRA has changed names of modules when each loads its ``pretrained_pth``:
#: v1 (``projects/llava_sam2``) wraps its language model first, v2 (``projects/sa2va``) afterwards.
TRAINERS = {'v1': True, 'v2': False}


def upstream_state(model_dir: str | Path, trainer: str = 'v1') -> dict[str, Tensor]:
    """Every tensor of a released checkpoint, named as upstream's trainer has it when it loads the file.

    Both trainers load with ``strict=False``: a name they do not have is silently ignored.

    Args:
        model_dir: Directory in the released layout.
        trainer: A key of ``TRAINERS``. The names of ``'v2'`` are also those of a v1 without LoRA.
    """
    key_map, weights = key_map_of(read_config(model_dir)), ReleasedWeights(model_dir)
    tensors = dict(weights.items())
    if key_map.backbone.is_tied:
        embeddings, head = embeddings_and_head(key_map)
        tensors[head] = tensors[embeddings]  # the trainer has the one matrix under both names
    wrapped = key_map.backbone.released_lora_targets if TRAINERS[trainer] else None
    return {released_to_upstream(name, wrapped): tensor for name, tensor in tensors.items()}
