"""Captions written token by token: the greedy one of each region, and sampled ones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import InternVLForConditionalGeneration, LogitsProcessorList, StoppingCriteriaList

from ..structures import Captions
from .generation import BanTokens, EndOfTurn, Sampling
from .text_codec import TextCodec


def write_captions(
    mllm: InternVLForConditionalGeneration,
    text: TextCodec,
    prompt_list: Sequence[Tensor],
    max_caption_len: int,
    num_captions: int,
    sampling: Sampling,
) -> Captions:
    """The greedy captions of R prompts, followed by ``num_captions - 1`` sampled ones of each.

    Args:
        mllm: In eval mode.
        text: Its tokenizer and template.
        prompt_list: R embedded prompts ``[L, D]``.
        max_caption_len: The most tokens of a caption; the end of turn comes on top.
        num_captions: K.
        sampling: How all but the greedy captions are sampled.

    Returns:
        K * R captions: all regions' first ones, then all regions' second ones, and so on.
    """
    greedy = _write(mllm, text, prompt_list, max_caption_len, 1, {'do_sample': False})
    if num_captions == 1:
        return greedy
    settings = dict(
        do_sample=True, temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p
    )
    sampled = _write(mllm, text, prompt_list, max_caption_len, num_captions - 1, settings)
    by_region = torch.arange(len(sampled), device=sampled.ids.device).view(len(greedy), num_captions - 1)
    return greedy.cat(sampled[by_region.t().flatten()])


def _write(
    mllm: InternVLForConditionalGeneration,
    text: TextCodec,
    prompt_list: Sequence[Tensor],
    max_caption_len: int,
    num_captions: int,
    settings: dict[str, Any],
) -> Captions:
    """``num_captions`` of each prompt, the captions of one prompt one after the other."""
    embeds, mask = pad_prompts(prompt_list)
    banned = torch.tensor(text.banned_token_ids, device=embeds.device)
    ban = BanTokens(banned, len(prompt_list) * num_captions)
    rows: Any = mllm.generate(
        inputs_embeds=embeds,
        attention_mask=mask.long(),
        max_new_tokens=max_caption_len + len(text.end_ids),
        num_return_sequences=num_captions,
        **settings,
        use_cache=True,
        eos_token_id=None,
        pad_token_id=text.tokenizer.pad_token_id,
        logits_processor=LogitsProcessorList([ban]),
        stopping_criteria=StoppingCriteriaList([EndOfTurn(text)]),
    )
    captions = text.captions(rows.tolist(), max_caption_len).to(embeds.device)
    captions.num_banned = ban.count(captions.in_caption.sum(1))
    return captions


def pad_prompts(prompt_list: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Prompts ``[L, D]`` as ``[R, L, D]``, padded with zeros on the left, and their mask ``[R, L]`` bool."""
    embeds = pad_sequence(list(prompt_list), batch_first=True, padding_side='left')
    masks = [torch.ones(len(prompt), dtype=torch.bool, device=prompt.device) for prompt in prompt_list]
    return embeds, pad_sequence(masks, batch_first=True, padding_side='left')
