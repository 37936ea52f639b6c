"""What carries a caption across to the segmenter, with or without a gradient; see ``ops.caption_bridge``."""

from dataclasses import dataclass

from torch import Tensor

from ..ops.caption_bridge import TokenTwins, soft_tokens, straight_through


@dataclass
class SoftTokenBridge:
    """The expected embedding over the likeliest tokens: exact gradient, blurred caption.

    Args:
        temperature: Softmax temperature; towards 0 the blur vanishes.
        top_k: Candidates per position.
    """

    temperature: float = 0.5
    top_k: int = 50

    def __call__(self, logits: Tensor, ids: Tensor, embedding: Tensor, twins: TokenTwins) -> Tensor:
        """``[R, T, V]`` logits -> ``[R, T, D]`` embeddings for the segment prompt."""
        return soft_tokens(logits, embedding, self.temperature, self.top_k, twins)


@dataclass
class StraightThroughBridge:
    """Exactly the caption forward, the softmax's gradient backward. Biased: see docs/method.md.

    Args:
        temperature: Temperature of the softmax that gives the gradient.
    """

    temperature: float = 1.0

    def __call__(self, logits: Tensor, ids: Tensor, embedding: Tensor, twins: TokenTwins) -> Tensor:
        """``[R, T, V]`` logits and ``[R, T]`` ids -> ``[R, T, D]`` embeddings for the segment prompt."""
        return straight_through(logits, ids, embedding, self.temperature, twins)


@dataclass
class DetachedBridge(SoftTokenBridge):
    """The soft tokens without their gradient: a control in which masks cannot teach the caption."""

    def __call__(self, logits: Tensor, ids: Tensor, embedding: Tensor, twins: TokenTwins) -> Tensor:
        """``[R, T, V]`` logits -> ``[R, T, D]`` embeddings without gradient."""
        return super().__call__(logits.detach(), ids, embedding, twins)
