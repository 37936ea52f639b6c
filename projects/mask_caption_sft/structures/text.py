"""Texts as the segment prompt holds them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass
class TextEmbeds:
    """Embeddings of R texts; gradients may flow through them.

    Attributes:
        embeds: ``[R, T, D]``, right-padded.
        mask: ``[R, T]`` bool, true at tokens. A text may have none.
    """

    embeds: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.embeds)

    def __getitem__(self, rows: Tensor) -> 'TextEmbeds':
        return TextEmbeds(self.embeds[rows], self.mask[rows])

    def cat(self, other: 'TextEmbeds') -> 'TextEmbeds':
        """The rows of both, padded to the longer width."""
        width = max(self.embeds.shape[1], other.embeds.shape[1])
        embeds = [pad(t.embeds, (0, 0, 0, width - t.embeds.shape[1])) for t in (self, other)]
        masks = [pad(t.mask, (0, width - t.mask.shape[1])) for t in (self, other)]
        return TextEmbeds(torch.cat(embeds), torch.cat(masks))
