"""Captions as token ids, and the student's scores for them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass
class CaptionIds:
    """R captions of up to T tokens, right-padded; no end-of-turn tokens.

    Attributes:
        ids: ``[R, T]`` long; padding holds the tokenizer's pad id.
        mask: ``[R, T]`` bool, true at caption tokens. A caption may be empty.
        num_banned: ``[R]`` long or None: at how many positions a special
            token would have been written had it not been banned.
    """

    ids: Tensor
    mask: Tensor
    num_banned: Tensor | None = None

    def __len__(self) -> int:
        return self.ids.shape[0]

    def __getitem__(self, index: Tensor) -> 'CaptionIds':
        banned = None if self.num_banned is None else self.num_banned[index]
        return CaptionIds(self.ids[index], self.mask[index], banned)

    def to(self, device: torch.device) -> 'CaptionIds':
        """The same captions on a device."""
        banned = None if self.num_banned is None else self.num_banned.to(device)
        return CaptionIds(self.ids.to(device), self.mask.to(device), banned)

    def append(self, other: 'CaptionIds', pad_id: int) -> 'CaptionIds':
        """Rows of both, padded to the longer width; without ``num_banned``."""
        width = max(self.ids.shape[1], other.ids.shape[1])
        rows = [(c.ids, c.mask, (0, width - c.ids.shape[1])) for c in (self, other)]
        ids = torch.cat([pad(ids, by, value=pad_id) for ids, _, by in rows])
        return CaptionIds(ids, torch.cat([pad(mask, by, value=False) for _, mask, by in rows]))


@dataclass
class CaptionLogits:
    """Scores of a teacher-forced pass over prompt + caption + end of turn.

    Attributes:
        logits: ``[R, L, V]``; ``logits[:, t]`` predicts ``targets[:, t]``.
        targets: ``[R, L]`` long, caption then end-of-turn tokens, right-padded
            with ``IGNORE_INDEX`` (-100).
        is_caption: ``[R, L]`` bool, true at caption tokens, false at the end of
            turn and at padding. ``is_caption[:, :T]`` equals ``CaptionIds.mask``.
    """

    logits: Tensor
    targets: Tensor
    is_caption: Tensor
