"""One question about one image, answered as upstream's ``predict_forward`` answers it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import StoppingCriteriaList

from ..ops import prompts
from ..structures import ImageFeatures
from .generation import EndOfTurn
from .grounding import best_candidate, decode_masks
from .sa2va import Sa2VA


@dataclass
class Answer:
    """What the model writes, and one mask for every ``[SEG]`` in it.

    Attributes:
        text: Without the end of turn.
        token_ids: ``[T]`` long, as generated.
        seg_states: ``[N, D]``, the last hidden state at each ``[SEG]``.
        mask_logits: ``[N, h, w]``, of N masks (h = w = G / 4).
    """

    text: str
    token_ids: Tensor
    seg_states: Tensor
    mask_logits: Tensor


def free_question(model: Sa2VA, features: ImageFeatures, words: str) -> Tensor:
    """Embedded prompt ``[L, D]`` with any words after the first image."""
    return torch.cat(
        [
            model.embed_text(model.text.template.before_input + prompts.IMG_START),
            model._image_tokens(features)[0].flatten(0, 1),
            model.embed_text(prompts.IMG_END + words + model.text.template.before_answer),
        ]
    )


def segment_question(model: Sa2VA, features: ImageFeatures, expression: str) -> Tensor:
    """Embedded prompt ``[L, D]`` that asks for the mask of an expression in the first image.

    Raises:
        ValueError: The expression is empty or contains a special token.
    """
    prompts.check_expression(expression)
    return free_question(model, features, f'{prompts.SEGMENT_PREFIX} {expression}{prompts.SEGMENT_SUFFIX}')


def region_question(model: Sa2VA, features: ImageFeatures, visual_prompts: Tensor, region: int = 1) -> Tensor:
    """Embedded prompt that asks for a description of one of the regions ``[N, g, g]`` of the first image."""
    return model.describe_prompt(model._image_tokens(features)[0], visual_prompts, region)


@torch.no_grad()
def answer(model: Sa2VA, features: ImageFeatures, prompt: Tensor, max_new_tokens: int = 2048) -> Answer:
    """Greedy decoding with a KV cache, until the end of turn; nothing is banned.

    Args:
        model: In eval mode.
        features: Of one image.
        prompt: ``[L, D]``, a question about it.
        max_new_tokens: The most tokens of the answer; the context may set a lower limit.

    Source: upstream Sa2VA ``hf/models/modeling_sa2va_chat.py``, ``predict_forward``.
    """
    room = model.max_context - len(prompt)
    token_ids = model.mllm.generate(
        inputs_embeds=prompt[None],
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=prompt.device),
        max_new_tokens=min(max_new_tokens, room),
        do_sample=False,
        use_cache=True,
        eos_token_id=None,
        pad_token_id=model.text.tokenizer.pad_token_id,
        stopping_criteria=StoppingCriteriaList([EndOfTurn(model.text)]),
    )[0]
    written = model.mllm.get_input_embeddings()(token_ids)
    hidden = model._run([torch.cat([prompt, written])])[0]
    seg_states = hidden[len(prompt) :][token_ids == model.text.seg_token_id]
    return Answer(
        model.text.find_end(token_ids.tolist()).text,
        token_ids,
        seg_states,
        _masks(model, features, seg_states),
    )


def _masks(model: Sa2VA, features: ImageFeatures, seg_states: Tensor) -> Tensor:
    if not len(seg_states):
        side = model.grounding_size // 4
        return seg_states.new_zeros(0, side, side)
    image_index = torch.zeros(len(seg_states), dtype=torch.long, device=seg_states.device)
    candidates = decode_masks(
        model.grounding_encoder, features.grounding, image_index, model.text_hidden_fcs(seg_states)
    )
    return best_candidate(*candidates)[0]
