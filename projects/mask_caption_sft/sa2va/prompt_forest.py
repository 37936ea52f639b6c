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
from ..structures import Piece, as_piece


@dataclass
class KeysValues:
    """What attention keeps of a sequence.

    Attributes:
        layers: Keys and values ``[1, heads, L, width]`` of each layer.
        span: How far behind its beginning what follows begins, see :class:`Piece`.
    """

    layers: list[tuple[Tensor, Tensor]]
    span: int

    def __len__(self) -> int:
        return self.layers[0][0].shape[2]


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
        self._pieces: list[Piece] = []
        self._lengths: list[int] = []
        self._spans: list[int] = []
        self._ends: list[int] = []
        self._tree_of: list[int] = []
        self._trees: list[_Tree] = []

    def root(self, piece: Piece | Tensor, is_read: bool = True) -> int:
        """Add a piece, or embedded text ``[L, D]``, that continues nothing; its number.

        Args:
            piece: Its tokens.
            is_read: Whether its states are wanted. Those of what all prompts of an image begin with are
                not, which saves most of the last layer and of attention's mask.
        """
        self._trees.append(_Tree(is_root_read=is_read))
        return self._append(as_piece(piece), len(self._trees) - 1, None)

    def known_root(self, cached: KeysValues) -> int:
        """Add a root that has been read, by its keys and values; no gradient flows to it. Its number."""
        self._trees.append(_Tree(cached=cached))
        return self._append(Piece(torch.empty(0)), len(self._trees) - 1, None, cached)

    def add(self, piece: Piece | Tensor, after: int) -> int:
        """Add a piece, or embedded text ``[L, D]``, that continues piece ``after``; its number."""
        return self._append(as_piece(piece), self._tree_of[after], after)

    def _append(self, piece: Piece, tree: int, after: int | None, cached: KeysValues | None = None) -> int:
        number, pieces = len(self._pieces), self._trees[tree].pieces
        length = len(piece if cached is None else cached)
        self._pieces.append(piece)
        self._lengths.append(length)
        self._spans.append(piece.length if cached is None else cached.span)
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
        numbers = range(len(self._pieces))
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
        return sum(len(self._pieces[number]) for number in tree.pieces)

    def _run_together(
        self, language_model: nn.Module, trees: list[_Tree], keep: bool
    ) -> tuple[Tensor, DynamicCache | None, int]:
        """Hidden states, what attention keeps, and the number of first tokens that have no states."""
        rows = [torch.cat([piece.embeds for piece in self._new_pieces(tree)]) for tree in trees]
        embeds = pad_sequence(rows, batch_first=True)
        settings = self._seen_in_layers(trees, embeds)
        known = [tree.cached for tree in trees if tree.cached is not None]
        cache = DynamicCache() if keep or known else None
        if cache is not None and known:
            _fill(cache, known)
        # At least one token has states: no kernel is made for none.
        trunk_len = min(self._trunk_len(trees), embeds.shape[1] - 1)
        layers: Any = language_model.layers
        if len(settings.get('deepstack_visual_embeds', ())) >= len(layers):
            trunk_len = 0  # the last layer's output is added to, where the trunk has none
        # Padding stands at the end, where it changes nothing for a chain.
        is_plain = not known and not trunk_len and all(is_chain(tree.parents) for tree in trees)
        if not is_plain or self._has_places(trees):
            positions, visible = self._layout(trees, embeds.shape[1], trunk_len)
            settings['position_ids'] = positions.to(embeds.device)
            if not is_plain:
                settings['attention_mask'] = _added_to_scores(visible, embeds)
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

    def _new_pieces(self, tree: _Tree) -> list[Piece]:
        return [self._pieces[n] for n in (tree.pieces[1:] if tree.cached is not None else tree.pieces)]

    def _has_places(self, trees: list[_Tree]) -> bool:
        return any(self._pieces[n].places is not None for tree in trees for n in tree.pieces)

    def _seen_in_layers(self, trees: list[_Tree], embeds: Tensor) -> dict[str, Any]:
        """Features for the first layers, as transformers' Qwen3-VL takes them; empty if there are none."""
        deep, visual = [], torch.zeros(embeds.shape[:2], dtype=torch.bool, device='cpu')
        for row, tree in enumerate(trees):
            end = 0
            for piece in self._new_pieces(tree):
                begin, end = end, end + len(piece)
                if piece.visual is not None and piece.deep is not None:
                    visual[row, begin:end] = piece.visual
                    deep.append(piece.deep)
        if not deep:
            return {}
        features = torch.cat(deep, dim=1)
        return dict(
            visual_pos_masks=visual.to(embeds.device), deepstack_visual_embeds=list(features.unbind(0))
        )

    def _layout(self, trees: list[_Tree], width: int, trunk_len: int) -> tuple[Tensor, Tensor]:
        """Positions of the new tokens, and what those behind the trunk see.

        The latter is ``[N, L - trunk, known + L]`` bool. Positions are ``[N, L]``, or ``[4, N, L]`` where
        tokens have places along three axes; then the first row only tells transformers that each sequence is
        one.
        """
        known = len(trees[0].cached) if trees[0].cached is not None else 0
        positions = torch.zeros(3, len(trees), width, dtype=torch.long)
        itself = torch.eye(width, known + width, dtype=torch.bool).roll(known, 1)[trunk_len:]
        visible = itself.repeat(len(trees), 1, 1)
        for row, tree in enumerate(trees):
            lengths, spans = ([counts[n] for n in tree.pieces] for counts in (self._lengths, self._spans))
            places, sees = tree_layout(lengths, tree.parents, spans)
            positions[:, row, : len(places) - known] = self._along_axes(tree, places)[:, known:]
            visible[row, : len(places) - known - trunk_len, : len(places)] = sees[known + trunk_len :]
        if not self._has_places(trees):
            return positions[0], visible
        return torch.cat([torch.arange(width).expand(1, len(trees), -1), positions]), visible

    def _along_axes(self, tree: _Tree, places: Tensor) -> Tensor:
        """Positions ``[3, L]`` of a tree's tokens, which are ``[L]`` where nothing is an image."""
        along, end = places.repeat(3, 1), 0
        for number in tree.pieces:
            begin, end = end, end + self._lengths[number]
            own = self._pieces[number].places
            if own is not None:
                along[:, begin:end] = places[begin] + own
        return along

    def _split(self, tree: _Tree, hidden: Tensor, left_out: int, states: dict[int, Tensor]) -> None:
        end = -left_out
        for number in tree.pieces:
            begin, end = end, end + len(self._pieces[number])
            states[number] = hidden[max(begin, 0) : max(end, 0)]

    def _split_kept(self, tree: _Tree, cache: DynamicCache, row: int, kept: dict[int, KeysValues]) -> None:
        layers: list[Any] = cache.layers
        one, end = slice(row, row + 1), 0
        for number in tree.pieces:
            begin, end = end, end + self._lengths[number]
            tensors = [(layer.keys[one, :, begin:end], layer.values[one, :, begin:end]) for layer in layers]
            kept[number] = KeysValues(tensors, self._spans[number])


def _added_to_scores(visible: Tensor, embeds: Tensor) -> Tensor:
    """``[N, 1, L, known + L]``, 0 or -inf, in the type that attention computes in.

    A bool mask would be turned into such numbers once in every layer.
    """
    dtype = autocast_dtype(embeds.device) or embeds.dtype
    added = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, -torch.inf)
    return added[:, None].to(embeds.device)


def _fill(cache: DynamicCache, known: Sequence[KeysValues]) -> None:
    for number, layers in enumerate(zip(*(keys_values.layers for keys_values in known))):
        keys, values = (torch.cat(column) for column in zip(*layers))
        cache.update(keys, values, number)
