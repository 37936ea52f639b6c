"""Which of the language model's layers run again in the backward pass, and which keep what it reads."""

import math
from typing import Any


def check_share(share: float) -> float:
    """The share of the layers that run again, as it was given: False is none of them, True all.

    Raises:
        ValueError: It is no share.
    """
    if not isinstance(share, (bool, int, float)) or not 0 <= share <= 1:
        raise ValueError(
            f'model.sa2va.activation_checkpointing={share!r} is no share of the layers. Set True (all '
            'run again in the backward pass), False (none does), or a number between 0 and 1; '
            'tools/estimate_cost.py --memory says which one fits a card.'
        )
    return share


def num_recomputed(share: float, num_layers: int) -> int:
    """How many of so many layers a share is, rounded up: no more is kept than was asked for."""
    return min(math.ceil(share * num_layers - 1e-9), num_layers)


def recompute_first(language_model: Any, number: int) -> None:
    """Let the first layers of a language model run again in the backward pass; the others keep everything.

    The way back begins at the last layer. What the last ones keep is gone before the first ones run again,
    so that the two do not take memory at one time.

    Args:
        language_model: Of transformers, in the mode that it is to have.
        number: Of layers; they get ``training``, without which they would keep everything too. Their
            submodules stay in their own mode, so a model in eval mode recomputes with its dropout off.
    """
    if number:
        language_model.gradient_checkpointing_enable({'use_reentrant': False})
    for place, layer in enumerate(language_model.layers):
        layer.gradient_checkpointing = place < number
        layer.training = place < number or language_model.training
