"""The names of upstream's training checkpoints."""

from pathlib import Path

from torch import Tensor

from .adapter import is_adapter
from .config import read_config
from .key_map import key_map_of
from .released import ReleasedWeights
from .source import trained_source
from .tied_embeddings import embeddings_and_head
from .trained_tensors import released_to_upstream

#: Upstream's trainers, and whether LoRA has changed names of modules when each loads its ``pretrained_pth``:
#: v1 (``projects/llava_sam2``) wraps its language model first, v2 (``projects/sa2va``) afterwards.
TRAINERS = {'v1': True, 'v2': False}


def upstream_state(model_dir: str | Path, trainer: str = 'v1', base: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a released checkpoint, named as upstream's trainer has it when it loads the file.

    Both trainers load with ``strict=False``: a name they do not have is silently ignored.

    Args:
        model_dir: Directory in the released layout, or of an adapter.
        trainer: A key of ``TRAINERS``. The names of ``'v2'`` are also those of a v1 without LoRA.
        base: Of an adapter, where it does not name a directory.

    Raises:
        ValueError: That trainer does not have models of this family.
    """
    tensors: dict[str, Tensor]
    if is_adapter(model_dir):
        source = trained_source(model_dir, base)
        config, tensors = read_config(source.base), {name: source.read(name) for name in source.weights}
    else:
        config, tensors = read_config(model_dir), dict(ReleasedWeights(model_dir).items())
    key_map = key_map_of(config)
    if trainer not in key_map.backbone.trainers:
        raise ValueError(
            f"{model_dir} is of the family {key_map.backbone.family}, which upstream's trainer {trainer} "
            f'does not have. Pass --trainer {key_map.backbone.trainers[0]}.'
        )
    if key_map.backbone.is_tied:
        embeddings, head = embeddings_and_head(key_map)
        tensors[head] = tensors[embeddings]  # the trainer has the one matrix under both names
    wrapped = key_map.backbone.released_lora_targets if TRAINERS[trainer] else None
    return {released_to_upstream(name, wrapped): tensor for name, tensor in tensors.items()}
