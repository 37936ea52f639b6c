"""What constrains the student's writing: tokens it may not use, and where it stops."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from .text_codec import TextCodec

#: The marker's letters are within the last so many tokens once it has been written.
_MARKER_WINDOW = 12


@dataclass(frozen=True)
class Sampling:
    """How captions are sampled.

    Args:
        temperature: Divides the logits.
        top_k: Only so many of the likeliest tokens; 0 for all.
        top_p: Only the likeliest tokens that together have this probability.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f'{self}: temperature must be positive, top_k at least 0 (0 takes all), top_p in (0, 1].'
            )


class BanTokens(LogitsProcessor):
    """Makes special tokens impossible to write, and counts how often one was the favourite.

    Args:
        banned_ids: ``[B]`` long.
        num_rows: Captions written at once.
    """

    def __init__(self, banned_ids: Tensor, num_rows: int) -> None:
        self.banned_ids = banned_ids
        self.attempts = torch.zeros(0, num_rows, dtype=torch.bool, device=banned_ids.device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        attempt = torch.isin(scores.argmax(-1), self.banned_ids)
        self.attempts = torch.cat([self.attempts, attempt[None]])
        return scores.index_fill(-1, self.banned_ids, -torch.inf)

    def count(self, caption_lens: Tensor) -> Tensor:
        """``[R]`` long: attempts in each caption and at the step that ended it."""
        steps = torch.arange(len(self.attempts), device=self.attempts.device)
        return (self.attempts & (steps[:, None] <= caption_lens)).sum(0)


class EndOfTurn(StoppingCriteria):
    """Stops an answer once it holds the end-of-turn marker, or at the end of sequence.

    The marker is compared as text: in the real tokenizer it is several tokens,
    whose split depends on what stands before it.
    """

    def __init__(self, text: TextCodec) -> None:
        self.text = text

    def __call__(self, input_ids: Tensor, scores, **kwargs) -> Tensor:
        tails = input_ids[:, -_MARKER_WINDOW:].tolist()
        return torch.tensor([self.text.find_end(tail).has_ended for tail in tails], device=input_ids.device)
