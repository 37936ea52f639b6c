"""A model that writes given tokens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from projects.mask_caption_sft.sa2va import rollout


@contextmanager
def writes(rows: Sequence[Sequence[int]], num_regions: int = 1) -> Iterator[None]:
    """Inside, whatever is described gets these captions: all of the first region, then of the second."""
    padded = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    script = padded.view(num_regions, -1, padded.shape[1])
    steps = count()

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        step = next(steps)
        tokens = script[..., step] if step < script.shape[-1] else torch.zeros_like(script[..., 0])
        self._attempts.append(torch.zeros_like(tokens, dtype=torch.bool))
        return tokens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout._Choice, '__call__', choose)
        yield
