"""Settings of the ways in which a loss on masks reaches the text; see ``ops.caption_bridge``."""

from dataclasses import dataclass

from torch import Tensor

from ..ops.caption_bridge import soft_tokens, straight_through
from ..structures import CaptionIds


@dataclass
class SoftTokenBridge:
    """The expected embedding over the likeliest tokens: exact gradient, blurred caption.

    Args:
        temperature: Of the softmax; towards 0 the blur vanishes.
        top_k: Candidates per position.
    """

    temperature: float = 0.5
    top_k: int = 50

    def __call__(
        self, logits: Tensor, captions: CaptionIds, embedding: Tensor, first_token_map: Tensor
    ) -> Tensor:
        """``[R, T, V]`` logits -> ``[R, T, D]`` embeddings for the segment prompt."""
        return soft_tokens(logits, embedding, self.temperature, self.top_k, first_token_map)


@dataclass
class StraightThroughBridge:
    """Exactly the caption forward, the softmax's gradient backward. Biased: see docs/method.md.

    Args:
        temperature: Of the softmax that gives the gradient.
    """

    temperature: float = 1.0

    def __call__(
        self, logits: Tensor, captions: CaptionIds, embedding: Tensor, first_token_map: Tensor
    ) -> Tensor:
        """``[R, T, V]`` logits -> ``[R, T, D]`` embeddings for the segment prompt."""
        return straight_through(logits, captions.ids, embedding, self.temperature, first_token_map)


@dataclass
class DetachedBridge:
    """The soft tokens without their gradient: a control in which masks cannot teach the caption.

    Args:
        temperature, top_k: As for :class:`SoftTokenBridge`.
    """

    temperature: float = 0.5
    top_k: int = 50

    def __call__(
        self, logits: Tensor, captions: CaptionIds, embedding: Tensor, first_token_map: Tensor
    ) -> Tensor:
        """``[R, T, V]`` logits -> ``[R, T, D]`` embeddings without gradient."""
        return soft_tokens(logits.detach(), embedding, self.temperature, self.top_k, first_token_map)


@dataclass
class SelectionBridge:
    """Supervised by selection: the best of K captions, as the teacher's masks judge, is taught.

    Args:
        num_captions: K; one is greedy, the rest are sampled. 1 switches selection off.
        margin_iou: How much better than the greedy caption the best must be.
        temperature: Of sampling.
    """

    num_captions: int = 4
    margin_iou: float = 0.05
    temperature: float = 1.0
