"""An embedded part of a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Piece:
    """L tokens of a prompt, where they stand, and what the language model is given of them besides.

    Plain text has embeddings alone. A language model that turns positions along three axes is told where the
    tokens of an image stand; one that sees an image in several layers gets features for those.

    Attributes:
        embeds: ``[L, D]``.
        places: ``[3, L]`` long on the CPU, the positions in time, rows and columns, counted from where the
            piece begins; None for tokens that follow each other.
        span: How far behind the beginning of this piece the next one begins; None for L.
        visual: ``[L]`` bool on the CPU, the tokens that ``deep`` is of; None for none.
        deep: ``[K, n, D]``, what is added to the hidden states of those n tokens after each of the first K
            layers.
    """

    embeds: Tensor
    places: Tensor | None = None
    span: int | None = None
    visual: Tensor | None = None
    deep: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeds)

    @property
    def length(self) -> int:
        """``span``, also of text."""
        return len(self) if self.span is None else self.span

    def chosen(self, tokens: Tensor) -> 'Piece':
        """Some of the tokens, ``[L]`` bool, each where it stands; what follows does not move up."""
        here = tokens.cpu()
        return Piece(
            self.embeds[tokens],
            None if self.places is None else self.places[:, here],
            self.length,
            None if self.visual is None else self.visual[here],
            None if self.visual is None or self.deep is None else self.deep[:, tokens[self.visual]],
        )


def as_piece(part: Piece | Tensor) -> Piece:
    """Embeddings ``[L, D]`` are those of text."""
    return part if isinstance(part, Piece) else Piece(part)


def join(parts: Sequence[Piece | Tensor]) -> Piece:
    """One piece of several, each of which begins where the one before it says."""
    pieces = [as_piece(part) for part in parts]
    embeds = torch.cat([piece.embeds for piece in pieces])
    if all(piece.places is None and piece.length == len(piece) for piece in pieces):
        return Piece(embeds)
    places, begin = [], 0
    for piece in pieces:
        plain = torch.arange(len(piece), device='cpu').expand(3, -1)
        places.append(begin + (plain if piece.places is None else piece.places))
        begin += piece.length
    joined = Piece(embeds, torch.cat(places, dim=1), begin)
    deep = [piece.deep for piece in pieces if piece.deep is not None]
    if deep:
        nothing = torch.zeros(max(map(len, pieces)), dtype=torch.bool, device='cpu')
        visual = [nothing[: len(p)] if p.visual is None else p.visual for p in pieces]
        joined.visual, joined.deep = torch.cat(visual), torch.cat(deep, dim=1)
    return joined
