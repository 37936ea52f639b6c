"""Prompts with common beginnings, run through the language model with each beginning once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from ..ops.precision import autocast_dtype
from ..ops.prompt_tree import groups_of_like_length, is_chain, tree_layout


@dataclass
class KeysValues:
    """What attention keeps of a sequence.

    Attributes:
        layers: Keys and values ``[1, heads, L, width]`` of each layer.
    """

    layers: list[tuple[Tensor, Tensor]]

    def __len__(self) -> int:
        return self.layers[0][0].shape[2]

    def __getitem__(self, span: slice) -> 'KeysValues':
        """The tokens of a span."""
        return KeysValues([(keys[:, :, span], values[:, :, span]) for keys, values in self.layers])


@dataclass
class _Tree:
    """A root and the pieces behind it, in the order in which they run.

    Attributes:
        pieces: Their numbers in the forest.
        parents: For each the place in this tree of the piece that it continues; None for the root.
        cached: The root's keys and values, if it has been read before.
        is_root_read: Whether the root's states are wanted.
    """

    pieces: list[int] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=list)
    cached: KeysValues | None = None
    is_root_read: bool = True


class PromptForest:
    """Embedded pieces of prompts; each is a root, or continues another piece.

    One sequence runs per root, with everything that continues it packed behind it. Sequences of like
    lengths run together, so that at most a twentieth of what runs is padding.
    """

    def __init__(self) -> None:
        self._embeds: list[Tensor] = []
        self._lengths: list[int] = []
        self._ends: list[int] = []
        self._tree_of: list[int] = []
        self._trees: list[_Tree] = []

    def root(self, embeds: Tensor, is_read: bool = True) -> int:
        """Add a piece ``[L, D]`` that continues nothing; its number.

        Args:
            embeds: Its embedded tokens.
            is_read: Whether its states are wanted. Those of what all prompts of an image begin with are
                not, which saves most of the last layer and of attention's mask.
        """
        self._trees.append(_Tree(is_root_read=is_read))
        return self._append(embeds, len(embeds), len(self._trees) - 1, None)

    def known_root(self, cached: KeysValues) -> int:
        """Add a root that has been read, by its keys and values; no gradient flows to it. Its number."""
        self._trees.append(_Tree(cached=cached))
        return self._append(torch.empty(0), len(cached), len(self._trees) - 1, None)

    def add(self, embeds: Tensor, after: int) -> int:
        """Add a piece ``[L, D]`` that continues piece ``after``; its number."""
        return self._append(embeds, len(embeds), self._tree_of[after], after)

    def _append(self, embeds: Tensor, length: int, tree: int, after: int | None) -> int:
        number, pieces = len(self._embeds), self._trees[tree].pieces
        self._embeds.append(embeds)
        self._lengths.append(length)
        self._ends.append(length + (0 if after is None else self._ends[after]))
        self._tree_of.append(tree)
        self._trees[tree].parents.append(None if after is None else pieces.index(after))
        pieces.append(number)
        return number

    def longest_prompt(self) -> int:
        """Tokens of the longest prompt, from its root to its last piece."""
        return max(self._ends, default=0)

    def shapes(self) -> list[tuple[int, int]]:
        """Rows and tokens of each batch of sequences that runs, what has been read before left out."""
        return [(len(trees), max(map(self._num_new, trees))) for trees in self._batches()]

    # ------------------------------------------------------------------ running

    def run(self, language_model: nn.Module) -> list[Tensor]:
        """The last hidden states (after the final norm) ``[L, D]`` of each piece; of roots that are known or
        not read those of no token, or of the last ones."""
        return self._run(language_model, keep=False)[0]

    def run_and_keep(self, language_model: nn.Module) -> tuple[list[Tensor], list[KeysValues]]:
        """Hidden states as :meth:`run` gives them, and the keys and values of each piece.

        The language model must not recompute: its checkpointed layers keep nothing.
        """
        return self._run(language_model, keep=True)

    def _run(self, language_model: nn.Module, keep: bool) -> tuple[list[Tensor], list[KeysValues]]:
        states: dict[int, Tensor] = {}
        kept: dict[int, KeysValues] = {}
        for trees in self._batches():
            hidden, cache, left_out = self._run_together(language_model, trees, keep)
            for row, tree in enumerate(trees):
                self._split(tree, hidden[row], left_out, states)
                if keep and cache is not None:
                    self._split_kept(tree, cache, row, kept)
        numbers = range(len(self._embeds))
        return [states[n] for n in numbers], [kept[n] for n in numbers] if keep else []

    def _batches(self) -> list[list[_Tree]]:
        """Trees that run together: behind known roots of one length, and of like lengths themselves."""
        by_root = defaultdict(list)
        for tree in self._trees:
            by_root[len(tree.cached) if tree.cached is not None else 0].append(tree)
        return [
            [trees[n] for n in group]
            for trees in by_root.values()
            for group in groups_of_like_length([self._num_new(tree) for tree in trees])
        ]

    def _num_new(self, tree: _Tree) -> int:
        return sum(len(self._embeds[number]) for number in tree.pieces)

    def _run_together(
        self, language_model: nn.Module, trees: list[_Tree], keep: bool
    ) -> tuple[Tensor, DynamicCache | None, int]:
        """Hidden states, what attention keeps, and the number of first tokens that have no states."""
        rows = [self._new_embeds(tree) for tree in trees]
        embeds = pad_sequence(rows, batch_first=True)
        settings: dict[str, Any] = {}
        known = [tree.cached for tree in trees if tree.cached is not None]
        cache = DynamicCache() if keep or known else None
        if cache is not None and known:
            _fill(cache, known)
        # At least one token has states: no kernel is made for none.
        trunk_len = min(self._trunk_len(trees), embeds.shape[1] - 1)
        # Padding stands at the end, where it changes nothing for a chain.
        if known or trunk_len or not all(is_chain(tree.parents) for tree in trees):
            positions, added = self._layout(trees, embeds, trunk_len)
            settings = dict(position_ids=positions, attention_mask=added)
        if trunk_len:
            settings.update(trunk_len=trunk_len)
        output = language_model(
            inputs_embeds=embeds, past_key_values=cache, use_cache=cache is not None, **settings
        )
        return output.last_hidden_state, cache, trunk_len

    def _trunk_len(self, trees: list[_Tree]) -> int:
        """How many tokens every row begins with whose states nobody reads."""
        if any(tree.is_root_read or tree.cached is not None for tree in trees):
            return 0
        return min(self._lengths[tree.pieces[0]] for tree in trees)

    def _new_embeds(self, tree: _Tree) -> Tensor:
        pieces = tree.pieces[1:] if tree.cached is not None else tree.pieces
        return torch.cat([self._embeds[number] for number in pieces])

    def _layout(self, trees: list[_Tree], embeds: Tensor, trunk_len: int) -> tuple[Tensor, Tensor]:
        """Positions ``[N, L]`` of the new tokens, and what is added to the attention's scores of those behind
        the trunk.

        The latter is ``[N, 1, L - trunk, known + L]``, 0 or -inf, in the type that attention computes in: a
        bool mask would be turned into such numbers once in every layer.
        """
        width = embeds.shape[1]
        known = len(trees[0].cached) if trees[0].cached is not None else 0
        positions = torch.zeros(len(trees), width, dtype=torch.long)
        itself = torch.eye(width, known + width, dtype=torch.bool).roll(known, 1)[trunk_len:]
        visible = itself.repeat(len(trees), 1, 1)
        for row, tree in enumerate(trees):
            places, sees = tree_layout([self._lengths[n] for n in tree.pieces], tree.parents)
            positions[row, : len(places) - known] = places[known:]
            visible[row, : len(places) - known - trunk_len, : len(places)] = sees[known + trunk_len :]
        dtype = autocast_dtype(embeds.device) or embeds.dtype
        added = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, -torch.inf)
        return positions.to(embeds.device), added[:, None].to(embeds.device)

    def _split(self, tree: _Tree, hidden: Tensor, left_out: int, states: dict[int, Tensor]) -> None:
        end = -left_out
        for number in tree.pieces:
            begin, end = end, end + len(self._embeds[number])
            states[number] = hidden[max(begin, 0) : max(end, 0)]

    def _split_kept(self, tree: _Tree, cache: DynamicCache, row: int, kept: dict[int, KeysValues]) -> None:
        layers: list[Any] = cache.layers
        whole = KeysValues([(layer.keys[row : row + 1], layer.values[row : row + 1]) for layer in layers])
        end = 0
        for number in tree.pieces:
            begin, end = end, end + self._lengths[number]
            kept[number] = whole[begin:end]


def _fill(cache: DynamicCache, known: Sequence[KeysValues]) -> None:
    for number, layers in enumerate(zip(*(keys_values.layers for keys_values in known))):
        keys, values = (torch.cat(column) for column in zip(*layers))
        cache.update(keys, values, number)
