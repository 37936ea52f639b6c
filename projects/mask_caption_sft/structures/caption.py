"""Captions token by token, and the student's scores for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass
class Captions:
    """R answers, as the assistant wrote them or as it would write a person's text.

    The end-of-turn marker may be one special token or several ordinary ones, and with the real
    tokenizer the last letters of a caption can share a token with the marker's first
    (``.<`` in "shirt.<|end|>"). So the tokens are kept exactly as they were sampled, and the
    text beside them.

    Attributes:
        ids: ``[R, L]`` long, caption and end of turn, right-padded with 0.
        mask: ``[R, L]`` bool, true at tokens, false at padding.
        in_caption: ``[R, L]`` bool, true at tokens that hold some of the caption's text, which come
            first. The remaining tokens are the end of turn.
        texts: R texts without the end of turn; may be empty.
        shares_last: ``[R]`` bool: the last token in the caption also holds the marker's first letters.
        has_ended: ``[R]`` bool; false where a caption was cut off at its maximum length, so that its
            tokens hold no end of turn.
        num_banned: ``[R]`` long: at how many positions a special token would have been written had
            it not been banned.
    """

    ids: Tensor
    mask: Tensor
    in_caption: Tensor
    texts: list[str]
    shares_last: Tensor
    has_ended: Tensor
    num_banned: Tensor

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[Sequence[int]],
        caption_lens: Sequence[int],
        texts: Sequence[str],
        shares_last: Sequence[bool],
        has_ended: Sequence[bool],
    ) -> 'Captions':
        """Pad R lists of ids; the first ``caption_lens[r]`` ids of row r hold its caption."""
        tensors = [torch.tensor(row, dtype=torch.long) for row in rows] or [torch.zeros(0, dtype=torch.long)]
        ids = pad_sequence(tensors, batch_first=True)[: len(rows)]
        position = torch.arange(ids.shape[1])
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        return cls(
            ids=ids,
            mask=position < lengths[:, None],
            in_caption=position < torch.tensor(list(caption_lens), dtype=torch.long)[:, None],
            texts=list(texts),
            shares_last=torch.tensor(list(shares_last), dtype=torch.bool),
            has_ended=torch.tensor(list(has_ended), dtype=torch.bool),
            num_banned=torch.zeros(len(rows), dtype=torch.long),
        )

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: Tensor) -> 'Captions':
        """Rows by position, ``[N]`` long; a row may occur more than once."""
        return Captions(
            self.ids[rows],
            self.mask[rows],
            self.in_caption[rows],
            [self.texts[row] for row in rows.tolist()],
            self.shares_last[rows],
            self.has_ended[rows],
            self.num_banned[rows],
        )

    def to(self, device: torch.device) -> 'Captions':
        """The same captions on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Captions(**moved, texts=self.texts)

    def cat(self, other: 'Captions') -> 'Captions':
        """The rows of both, padded to the longer width."""
        joined = {
            name: torch.cat(_same_width(getattr(self, name), getattr(other, name)))
            for name in ('ids', 'mask', 'in_caption', 'shares_last', 'has_ended', 'num_banned')
        }
        return Captions(**joined, texts=self.texts + other.texts)

    def is_empty(self) -> Tensor:
        """``[R]`` bool: nothing but spaces was written before the end of turn."""
        empty = [not text.strip() for text in self.texts]
        return torch.tensor(empty, dtype=torch.bool, device=self.ids.device)


@dataclass
class CaptionLogits:
    """Scores of a teacher-forced pass over prompt + caption + end of turn.

    Attributes:
        logits: ``[R, L, V]``; ``logits[:, t]`` predicts ``targets[:, t]``.
        targets: ``[R, L]`` long, the tokens of :class:`Captions`, -100 (``IGNORE_INDEX``) at padding.
    """

    logits: Tensor
    targets: Tensor


def _same_width(first: Tensor, second: Tensor) -> list[Tensor]:
    if first.dim() == 1:
        return [first, second]
    width = max(first.shape[1], second.shape[1])
    pad = torch.nn.functional.pad
    return [pad(tensor, (0, width - tensor.shape[1])) for tensor in (first, second)]
