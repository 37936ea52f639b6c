"""Where the tokens of branching prompts stand, and what each of them sees."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


def tree_layout(
    lengths: Sequence[int], parents: Sequence[int | None], spans: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Several prompts with common beginnings as one sequence of pieces, each continuing an earlier one.

    A token sees the tokens before it in its own piece and everything in the pieces that its piece
    continues, and stands where it would stand in a prompt of its own. So its state is what it would be there.

    Args:
        lengths: Tokens of each piece.
        parents: For each piece the number of the one that it continues, which comes earlier; None for none.
        spans: How far behind the beginning of each piece those stand that continue it; by default its length.

    Returns:
        Positions ``[L]`` long, and ``[L, L]`` bool, true where the row's token sees the column's.
    """
    length_of = torch.tensor(lengths, dtype=torch.long)
    span_of = length_of if spans is None else torch.tensor(spans, dtype=torch.long)
    starts = torch.zeros(len(lengths), dtype=torch.long)
    sees = torch.eye(len(lengths), dtype=torch.bool)
    for piece, parent in enumerate(parents):
        if parent is not None:
            starts[piece] = starts[parent] + span_of[parent]
            sees[piece] |= sees[parent]
    piece_of = torch.arange(len(lengths)).repeat_interleave(length_of, output_size=sum(lengths))
    order = torch.arange(len(piece_of))
    within = order - torch.tensor([0, *accumulate(lengths)][:-1], dtype=torch.long)[piece_of]
    return starts[piece_of] + within, sees[piece_of][:, piece_of] & (order <= order[:, None])


def is_chain(parents: Sequence[int | None]) -> bool:
    """Whether each piece continues the one before it, so that they are one ordinary prompt."""
    return list(parents) == [None, *range(len(parents) - 1)]


def groups_of_like_length(lengths: Sequence[int], max_padding: float = 0.05) -> list[list[int]]:
    """Numbers of sequences that are run together, padded to the longest of their group.

    Args:
        lengths: Tokens of each sequence.
        max_padding: The largest share of padding in a group.
    """
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        if groups:
            together = [*groups[-1], number]
            padded = len(together) * lengths[together[0]]
            if padded - sum(lengths[n] for n in together) <= max_padding * padded:
                groups[-1] = together
                continue
        groups.append([number])
    return groups
