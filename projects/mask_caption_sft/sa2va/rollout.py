"""Captions written token by token: the greedy one of each region, and sampled ones beside it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..structures import Captions, Piece, RegionViews
from .generation import Sampling
from .prefix import Prefix, as_attention_reads
from .prompt_forest import KeysValues, PromptForest
from .prompt_pieces import describe_piece

if TYPE_CHECKING:
    from .sa2va import Sa2VA


def write_captions(
    model: 'Sa2VA',
    views: RegionViews,
    prefix: Prefix,
    max_caption_len: int,
    num_captions: int,
    sampling: Sampling,
) -> Captions:
    """The greedy captions of R regions, followed by ``num_captions - 1`` sampled ones of each.

    All captions are written in one loop. What a region's captions share, its prompt, is read once and kept
    once: they are branches behind it, as in :class:`PromptForest`, and each step appends a token to each.

    Args:
        model: In eval mode, without recomputation.
        views: The regions with their visual prompts.
        prefix: What the model has read of their images.
        max_caption_len: The most tokens of a caption; the end of turn comes on top.
        num_captions: K.
        sampling: How all but the greedy captions are sampled.

    Returns:
        K * R captions: all regions' first ones, then all regions' second ones, and so on.
    """
    max_len = max_caption_len + len(model.text.end_ids)
    last_states, questions = _read_questions(model, views, prefix, max_len)
    choose = _Choice(sampling, torch.tensor(model.text.banned_token_ids, device=last_states.device))
    rows = _write(model, last_states, _Branches(questions, num_captions, max_len, _forward_of(model)), choose)
    captions = model.text.captions(rows, max_caption_len).to(last_states.device)
    captions.num_banned = choose.count_attempts(captions.in_caption.sum(1).view(num_captions, -1))
    return captions


def write_answers(model: 'Sa2VA', questions: Sequence[Piece], max_len: int) -> list[list[int]]:
    """The likeliest tokens behind each of R prompts, up to the end of all answers; nothing is banned.

    Args:
        model: In eval mode, without recomputation.
        questions: Prompts of any lengths.
        max_len: The most tokens of an answer; the context may set a lower limit.
    """
    forest = PromptForest()
    for question in questions:
        forest.root(question)
    model.check_context(forest.longest_prompt(), 1)
    max_len = min(max_len, model.max_context - forest.longest_prompt())
    states, kept = forest.run_and_keep(model.language_model)
    last = torch.stack([of_one[-1] for of_one in states])
    prompts = [(as_attention_reads(keys_values),) for keys_values in kept]
    writing = _Branches(prompts, 1, max_len, model.language_model)
    return _write(model, last, writing, lambda logits: logits.argmax(-1))


def _write(
    model: 'Sa2VA', last_states: Tensor, writing: '_Branches', choose: Callable[[Tensor], Tensor]
) -> list[list[int]]:
    """Tokens of K branches behind each of R prompts: all first branches, then all second ones, and so on.

    Args:
        model: Who writes.
        last_states: ``[R, D]``, of the prompts.
        writing: The branches.
        choose: ``[R, K, V]`` logits -> ``[R, K]`` ids.
    """
    states = last_states[:, None].expand(-1, writing.num_branches, -1)
    rows: list[list[int]] = [[] for _ in range(writing.num_branches * len(last_states))]
    unfinished = rows
    for step in range(writing.max_len):
        tokens = choose(model.mllm.lm_head(states))
        for row, token_id in zip(rows, tokens.t().flatten().tolist()):
            row.append(token_id)
        unfinished = [row for row in unfinished if not model.text.has_ended(row)]
        if step + 1 == writing.max_len or not unfinished:
            break
        states = writing.step(model, tokens, step)
    return rows


def _read_questions(
    model: 'Sa2VA', views: RegionViews, prefix: Prefix, max_len: int
) -> tuple[Tensor, list[tuple[KeysValues, ...]]]:
    """The last state ``[R, D]`` of each region's prompt, and what attention keeps of image and question."""
    assert views.visual_prompts is not None
    images = views.image_index.tolist()
    prefix.read(images)
    forest = PromptForest()
    roots = {image: forest.known_root(prefix[image]) for image in sorted(set(images))}
    numbers = [
        forest.add(describe_piece(model, prefix.tokens(image), cells[None]), after=roots[image])
        for image, cells in zip(images, views.visual_prompts)
    ]
    model.check_context(forest.longest_prompt(), max_len)
    states, kept = forest.run_and_keep(model.language_model)
    last = torch.stack([states[number][-1] for number in numbers])
    return last, [(prefix[image], as_attention_reads(kept[n])) for image, n in zip(images, numbers)]


def _forward_of(model: 'Sa2VA') -> Callable[..., Any]:
    """Compiled, if the model says so; torch keeps what it has compiled for the next call."""
    if not model.compile_to_write:
        return model.language_model
    return torch.compile(model.language_model.forward, dynamic=True)


class _Branches:
    """K unfinished captions behind each of R prompts, and the cache that they write into.

    A row of the cache holds a prompt, padding up to the longest prompt, and ``max_len`` slots per branch.

    Args:
        prompts: Keys and values of each of R prompts, part after part.
        num_branches: K.
        max_len: The most tokens of a branch.
        forward: The language model's.
    """

    def __init__(
        self,
        prompts: Sequence[tuple[KeysValues, ...]],
        num_branches: int,
        max_len: int,
        forward: Callable[..., Any],
    ) -> None:
        self.forward, self.num_branches, self.max_len = forward, num_branches, max_len
        first_keys = prompts[0][0].layers[0][0]
        self.device = first_keys.device
        lengths = [sum(map(len, parts)) for parts in prompts]
        prompt_lens = torch.tensor(lengths, device=self.device)
        spans = [sum(part.span for part in parts) for parts in prompts]
        #: ``[R, 1]``, where the first token behind each prompt stands.
        self._begins = torch.tensor(spans, device=self.device)[:, None]
        self.first_slot = max(lengths) + max_len * torch.arange(num_branches, device=self.device)
        self.cache = _SlotCache(prompts, max(lengths) + max_len * num_branches)
        self.order = slots = torch.arange(self.cache.num_slots, device=self.device)
        branch_of = (slots - max(lengths)).div(max_len, rounding_mode='floor')
        branches = torch.arange(num_branches, device=self.device)
        #: ``[R, 1, slots]`` and ``[K, slots]`` bool: slots of the prompt, and of the branch.
        self._in_prompt = slots < prompt_lens[:, None, None]
        self._in_branch = branch_of == branches[:, None]

    def step(self, model: 'Sa2VA', tokens: Tensor, step: int) -> Tensor:
        """Append token ``step`` of each caption, ``[R, K]``; the states ``[R, K, D]`` predict the next."""
        slots = self.first_slot + step
        visible = self._in_prompt | (self._in_branch & (self.order <= slots[:, None]))
        self.cache.slots = slots
        return self.forward(
            inputs_embeds=model.embed_ids(tokens),
            attention_mask=visible[:, None],
            position_ids=(self._begins + step).expand_as(tokens),
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state


class _SlotCache:
    """Keys and values ``[R, heads, slots, width]`` of each layer in memory that stays where it is.

    The part of transformers' ``Cache`` that a layer calls. Its own caches append to the end of every row;
    here each of K tokens goes to a slot of its branch.
    """

    def __init__(self, prompts: Sequence[tuple[KeysValues, ...]], num_slots: int) -> None:
        self.num_slots = num_slots
        self.slots: Tensor
        self._layers = [
            tuple(self._lay_out(prompts, layer, side) for side in (0, 1))
            for layer in range(len(prompts[0][0].layers))
        ]

    def _lay_out(self, prompts: Sequence[tuple[KeysValues, ...]], layer: int, side: int) -> Tensor:
        first = prompts[0][0].layers[layer][side]
        laid = first.new_zeros(len(prompts), first.shape[1], self.num_slots, first.shape[3])
        for row, parts in zip(laid, prompts):
            end = 0
            for part in parts:
                begin, end = end, end + len(part)
                row[:, begin:end] = part.layers[layer][side][0]
        return laid

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many slots there are; positions and mask are given, so that nothing is derived from it."""
        return self.num_slots

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *args, **kwargs) -> tuple[Tensor, Tensor]:
        """Write K new tokens' keys and values into their slots; all of the layer's."""
        all_keys, all_values = self._layers[layer_idx]
        all_keys.index_copy_(2, self.slots, keys.to(all_keys.dtype))
        all_values.index_copy_(2, self.slots, values.to(all_values.dtype))
        return all_keys, all_values


class _Choice:
    """The next token of each caption: the likeliest for the first of a region, drawn for the others.

    Special tokens cannot be written; how often one was the favourite is counted.
    """

    def __init__(self, sampling: Sampling, banned_ids: Tensor) -> None:
        self.sampling, self.banned_ids = sampling, banned_ids
        self._attempts: list[Tensor] = []

    def __call__(self, logits: Tensor) -> Tensor:
        """``[R, K, V]`` logits -> ``[R, K]`` ids."""
        logits = logits.float()
        self._attempts.append(torch.isin(logits.argmax(-1), self.banned_ids))
        logits = logits.index_fill(-1, self.banned_ids, -torch.inf)
        return torch.cat([logits[:, :1].argmax(-1), self.sampling.draw(logits[:, 1:])], dim=1)

    def count_attempts(self, caption_lens: Tensor) -> Tensor:
        """``[K * R]`` long: attempts in captions of ``[K, R]`` tokens and at the steps that ended them."""
        attempts = torch.stack(self._attempts).transpose(1, 2)
        steps = torch.arange(len(attempts), device=attempts.device)[:, None, None]
        return (attempts & (steps <= caption_lens)).sum(0).flatten()
