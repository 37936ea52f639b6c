"""In which floating-point types a released checkpoint stores its weights; read from the files' headers."""

from collections import Counter

import torch

from .key_map import KeyMap
from .released import ReleasedWeights

#: safetensors' names of the types that a base can be held in.
_KNOWN = {'F32': torch.float32, 'BF16': torch.bfloat16, 'F16': torch.float16}


def stored_dtypes(weights: ReleasedWeights, key_map: KeyMap) -> dict[str, torch.dtype]:
    """The type of the matrices of each part: ``{'language_model': torch.bfloat16, ...}``.

    Parts may differ: upstream's conversion keeps the two that it loads in bfloat16 as they are, and writes
    projector, SAM 2 and ``text_hidden_fcs`` in float32. Vectors (norms, biases) may differ from matrices.

    Raises:
        ValueError: A tensor is of another kind than float32, bfloat16 and float16, or the matrices of one
            part are of several; the message names the file and the tensors.
    """
    kinds: dict[str, dict[str, str]] = {}
    for key in weights:
        if key_map.entry_for(key) is None:
            continue  # unused, or unknown: whoever loads it says so
        kind = weights.stored_dtype(key)
        if kind not in _KNOWN:
            raise ValueError(
                f'{weights.base / weights.shard_of[key]} stores {key} as {kind}; a base is read in '
                f'{", ".join(_KNOWN)}. Convert it: a quantised checkpoint cannot be trained or exported.'
            )
        if len(weights.shape(key)) >= 2:
            kinds.setdefault(key.split('.')[0], {})[key] = kind
    for part, found in kinds.items():
        _check_alike(weights, part, found)
    return {part: _KNOWN[next(iter(found.values()))] for part, found in kinds.items()}


def _check_alike(weights: ReleasedWeights, part: str, found: dict[str, str]) -> None:
    counts = Counter(found.values()).most_common()
    if len(counts) == 1:
        return
    rare = [key for key, kind in found.items() if kind != counts[0][0]]
    example = rare[0]
    raise ValueError(
        f'{weights.base}: the matrices of {part} are stored in several types '
        f'({", ".join(f"{number} in {kind}" for kind, number in counts)}; {found[example]}: '
        f'{", ".join(rare[:3])}{", ..." if len(rare) > 3 else ""} in {weights.shard_of[example]}). Files of '
        "two checkpoints may have been mixed up. If it is meant, set model.sa2va.base_dtype='bfloat16' or "
        "'float32', which casts them."
    )
