"""How captions are drawn."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


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

    def draw(self, logits: Tensor) -> Tensor:
        """One token ``[...]`` from each distribution of ``[..., V]`` logits; -inf is never drawn.

        NaN is taken for 0: a run goes on until its loss is NaN too, and the update is refused.
        ``multinomial`` raises, which would end the run.
        """
        rows = logits.flatten(0, -2)
        if not len(rows):
            return torch.zeros(logits.shape[:-1], dtype=torch.long, device=logits.device)
        written: Any = rows.new_zeros(len(rows), 0, dtype=torch.long)  # the warpers do not look at it
        largest = torch.finfo(rows.dtype).max
        shaped = self._warpers()(written, rows.nan_to_num(nan=0.0, posinf=largest, neginf=-torch.inf))
        return shaped.softmax(-1).multinomial(1).view(logits.shape[:-1])

    def _warpers(self) -> Any:
        warpers = LogitsProcessorList()
        if self.temperature != 1:
            warpers.append(TemperatureLogitsWarper(float(self.temperature)))
        if self.top_k:
            warpers.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1:
            warpers.append(TopPLogitsWarper(self.top_p))
        return warpers
