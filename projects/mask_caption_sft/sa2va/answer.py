"""What the model writes when it is asked, and the masks of the ``[SEG]`` tokens in it.

Source: upstream Sa2VA ``hf/models/modeling_sa2va_chat.py``, ``predict_forward``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..grounding import best_candidate
from ..ops import prompts
from ..ops.precision import without_gradient
from ..structures import ImageFeatures, Piece, RegionViews, Segmentation, TextEmbeds, join
from .prefix import Prefix
from .prompt_pieces import describe_piece, image_piece
from .rollout import write_answers
from .sa2va import Sa2VA

#: The longest answer in validation, in tokens. "Sure, [SEG]." and its end of turn take about ten.
#: Upstream allows 2048: it differs only for a model whose [SEG] comes later than this.
MAX_ANSWER_LEN = 64


@dataclass
class Answer:
    """What the model writes, and one mask for every ``[SEG]`` in it.

    Attributes:
        text: Without the end of turn.
        token_ids: ``[T]`` long, as generated.
        seg_states: ``[N, D]``, the last hidden state at each ``[SEG]``.
        mask_logits: ``[N, h, w]``, of N masks, at the size at which they are drawn.
    """

    text: str
    token_ids: Tensor
    seg_states: Tensor
    mask_logits: Tensor


@dataclass
class WrittenMasks:
    """Masks of R texts, each of the first ``[SEG]`` in the model's own answer.

    Attributes:
        mask_logits: ``[R, h, w]``; without meaning where the model wrote no ``[SEG]``.
        has_seg: ``[R]`` bool, whether it wrote one.
        as_given: ``[R]`` bool, whether its answer begins with "Sure, [SEG]".
    """

    mask_logits: Tensor
    has_seg: Tensor
    as_given: Tensor


def free_question(model: Sa2VA, features: ImageFeatures, words: str) -> Piece:
    """Embedded prompt with any words after the first image."""
    image = image_piece(model, model.image_tokens(features, 0))
    return join([image, model.embed_text(words + model.text.template.before_answer)])


def segment_question(model: Sa2VA, features: ImageFeatures, expression: str) -> Piece:
    """Embedded prompt that asks for the mask of an expression in the first image.

    Raises:
        ValueError: The expression is empty or contains a special token.
    """
    prompts.check_expression(expression)
    return free_question(model, features, f'{prompts.SEGMENT_PREFIX} {expression}{prompts.SEGMENT_SUFFIX}')


def region_question(model: Sa2VA, features: ImageFeatures, visual_prompts: Tensor, region: int = 1) -> Piece:
    """Embedded prompt that asks for a description of one of the regions ``[N, g, g]`` of the first image."""
    tokens = model.image_tokens(features, 0)
    return join([image_piece(model, tokens), describe_piece(model, tokens, visual_prompts, region)])


@without_gradient()
def answer(model: Sa2VA, features: ImageFeatures, prompt: Piece, max_new_tokens: int = 2048) -> Answer:
    """Greedy decoding with a KV cache; nothing is banned.

    Args:
        model: In eval mode.
        features: Features of one image.
        prompt: A question about it.
        max_new_tokens: The most tokens of the answer; the context may set a lower limit.
    """
    (token_ids,) = write(model, [prompt], max_new_tokens)
    states = _states(model, [prompt], [token_ids])[0]
    seg_states = states[token_ids == model.text.seg_token_id]
    image = torch.zeros(len(seg_states), dtype=torch.long, device=seg_states.device)
    masks = _masks(model, RegionViews(features, image), seg_states)
    return Answer(model.text.find_end(token_ids.tolist()).text, token_ids, seg_states, masks)


@without_gradient()
def segment_as_written(
    model: Sa2VA,
    views: RegionViews,
    texts: TextEmbeds,
    max_answer_len: int = MAX_ANSWER_LEN,
    prefix: Prefix | None = None,
) -> WrittenMasks:
    """Masks of R texts as upstream's evaluation finds them, from what the model writes greedily.

    Nothing is written for a model that answers as it was taught: the answer "Sure, [SEG]."
    is given, in one pass, and if every token up to ``[SEG]`` is the likeliest one, greedy
    decoding writes the same. Later tokens change neither the state at ``[SEG]`` nor the mask.
    The other texts are asked again, and the answer is written token by token.

    Args:
        model, views, texts, prefix: As for :meth:`Sa2VA.segment`.
        max_answer_len: Tokens after which an answer without ``[SEG]`` is given up.
    """
    given = model.segment(views, texts, prefix)
    as_given = would_be_written(given, model.text.seg_token_id)
    found = WrittenMasks(given.mask_logits, as_given.clone(), as_given)
    rows = (~as_given).nonzero()[:, 0]
    if not len(rows):
        return found
    questions = model.segment_prompts(views[rows], texts[rows])
    answers = [_until_seg(model, ids) for ids in write(model, questions, max_answer_len)]
    ends_in_seg = [(i, ids) for i, ids in enumerate(answers) if ids is not None]
    if ends_in_seg:
        numbers, spoken = (list(column) for column in zip(*ends_in_seg))
        states = _states(model, [questions[i] for i in numbers], spoken)
        kept = rows[numbers]
        masks = _masks(model, views[kept], torch.stack([s[-1] for s in states]))
        found.mask_logits[kept] = masks.to(found.mask_logits.dtype)
        found.has_seg[kept] = True
    return found


def would_be_written(given: Segmentation, seg_token_id: int) -> Tensor:
    """``[R]`` bool: whether greedy decoding writes the given answer, up to its ``[SEG]``."""
    length = int((given.answer_ids == seg_token_id).nonzero()[0, 0]) + 1
    return (given.answer_logits[:, :length].argmax(-1) == given.answer_ids[:length]).all(1)


@without_gradient()
def write(model: Sa2VA, questions: Sequence[Piece], max_new_tokens: int) -> list[Tensor]:
    """Greedy answers ``[T]`` to R embedded questions, their end included; nothing is banned.

    As upstream, an answer ends with the template's end of turn or the tokenizer's end of sequence.

    Args:
        model: Writes without dropout and without recomputation, whatever its mode.
        questions: Prompts of any lengths.
        max_new_tokens: The most tokens of an answer; the context may set a lower limit.
    """
    with model.without_recomputation():
        rows = write_answers(model, questions, max_new_tokens)
    # A row that has ended goes on until all have.
    answers = [row[: model.text.find_end(row).answer_len] for row in rows]
    return [torch.tensor(row, dtype=torch.long, device=model.device) for row in answers]


def _until_seg(model: Sa2VA, token_ids: Tensor) -> Tensor | None:
    """A written answer up to its first ``[SEG]``; None if it has none."""
    seg = (token_ids == model.text.seg_token_id).nonzero()[:, 0]
    return token_ids[: seg[0] + 1] if len(seg) else None


def _states(model: Sa2VA, questions: Sequence[Piece], answers: Sequence[Tensor]) -> list[Tensor]:
    """The last hidden states ``[T, D]`` at the tokens of each answer, in one pass."""
    hidden = model.states([join([q, model.embed_ids(a)]) for q, a in zip(questions, answers)])
    return [row[len(q) : len(q) + len(a)] for row, q, a in zip(hidden, questions, answers)]


def _masks(model: Sa2VA, views: RegionViews, seg_states: Tensor) -> Tensor:
    """Mask logits ``[N, h, w]`` from the states ``[N, D]`` at N ``[SEG]`` tokens."""
    if not len(seg_states):
        side = model.sizes.mask_size
        return seg_states.new_zeros(0, side, side)
    embeds = model.text_hidden_fcs(seg_states)
    rows = views.features.grounding_rows(views.image_index)
    candidates = model.grounding_kind.decode(model.grounding_encoder, views.features.grounding, rows, embeds)
    return best_candidate(*candidates)[0]
