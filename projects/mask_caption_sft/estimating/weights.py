"""Parameters and the bytes that stay on a GPU from step to step."""

from collections import Counter

from ..loop.mask_caption_sft import MaskCaptionSFT
from ..sa2va.frozen_shards import frozen_matrices

_LAYERS = 'language_model.layers.'
#: The first that fits a parameter's name.
_PARTS = {
    'lora_': 'LoRA',
    'multi_modal_projector': 'projector',
    'merger': 'projector',
    'mask_decoder': 'SAM 2 mask decoder',
    'text_hidden_fcs': 'text_hidden_fcs',
    'embed_tokens': 'token embeddings',
    'token_rows': 'token embeddings',
    'lm_head': 'output matrix',
    'language_model': 'language model',
    'vision_tower': 'ViT',
    'visual': 'ViT',
    'grounding_encoder': 'SAM 2 encoders',
}


def count_parameters(model: MaskCaptionSFT, num_layers: int) -> dict[tuple[str, str], int]:
    """Parameters of the student by ``'trained'`` or ``'frozen'`` and part.

    Args:
        model: With a few of the language model's layers, which are alike.
        num_layers: Of the language model that is meant.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for name, parameter in model.student.named_parameters():
        kind = 'trained' if parameter.requires_grad else 'frozen'
        part = next(title for mark, title in _PARTS.items() if mark in name)
        counts[kind, part] += parameter.numel() * _repeats(name, model, num_layers)
    return dict(sorted(counts.items()))


def count_weights(
    model: MaskCaptionSFT, num_layers: int, num_gpus: int, shard_frozen: bool = False
) -> dict[str, int]:
    """Bytes of what is trained with AdamW on so many GPUs, beside the activations.

    Args:
        model, num_layers: See :func:`count_parameters`.
        num_gpus: From two on, DDP holds a second copy of the gradients.
        shard_frozen: The frozen matrices of the layers are split over the GPUs, see :class:`FrozenShards`.
    """
    sizes: Counter[bool] = Counter()
    for name, parameter in model.student.named_parameters():
        sizes[parameter.requires_grad] += parameter.nbytes * _repeats(name, model, num_layers)
    own = {id(p) for p in model.student.parameters()}
    teachers = [(n, p) for n, p in model.teacher.named_parameters() if id(p) not in own]
    teacher = sum(p.nbytes * _repeats(n, model, num_layers) for n, p in teachers)
    start = model.student.start_weights
    trained = sizes[True]
    return {
        'frozen weights': sizes[False] - (_elsewhere(model, num_layers, num_gpus) if shard_frozen else 0),
        'trained weights': trained,
        "the teacher's own weights": teacher,
        'weights from before training': start.num_bytes if start else 0,
        'gradients': trained,
        "gradients' copies that DDP sends": trained if num_gpus > 1 else 0,
        "AdamW's two moments": 2 * trained,
    }


def checkpoint_bytes(weights: dict[str, int]) -> int:
    """A checkpoint on disk: what is trained, of student and teacher, and the moments."""
    kept = ('trained weights', "the teacher's own weights", "AdamW's two moments")
    return sum(weights[name] for name in kept)


def _elsewhere(model: MaskCaptionSFT, num_layers: int, num_gpus: int) -> int:
    """Bytes that other GPUs keep; each has one whole layer beside its share."""
    matrices = frozen_matrices(model.student.language_model.layers[0])
    layer = sum(parameter.nbytes for matrix in matrices for parameter in matrix.parameters())
    return max(layer * (num_layers - 1) - layer * num_layers // num_gpus, 0)


def _repeats(name: str, model: MaskCaptionSFT, num_layers: int) -> int:
    """For how many parameters one of this name stands: the last layer that is built stands for itself and for
    those that are not, the others for themselves."""
    built = len(model.student.language_model.layers)
    return num_layers - built + 1 if f'{_LAYERS}{built - 1}.' in name else 1
