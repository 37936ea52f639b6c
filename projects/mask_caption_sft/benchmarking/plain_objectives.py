"""What each objective of the loop teaches, written plainly."""

from functools import singledispatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..loop.objectives import (
    BestOfK,
    HumanExpressions,
    NearStart,
    Objective,
    SegmentCaptions,
    TeacherIoU,
    WeightedCaptions,
)
from ..losses import caption_loss, iou_loss, kl_loss
from ..ops.caption_bridge import TokenTwins
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionBatch, TextEmbeds
from . import plain_passes
from .parts import part

if TYPE_CHECKING:
    from .plain_step import PlainRun


@singledispatch
def teach(objective: Objective, run: 'PlainRun') -> None:
    """What an objective of ``loop.objectives`` teaches, written plainly.

    Raises:
        TypeError: It is none of them.
    """
    raise TypeError(
        f'{type(objective).__name__} has no plain form. Write one in benchmarking/plain_objectives.py.'
    )


@teach.register(BestOfK)
def _(objective: BestOfK, run: 'PlainRun') -> None:
    if len(run.candidates) < 2:
        return
    if objective.credit is not None:
        raise TypeError("BestOfK's credit has no plain form. Leave it out, or write one here.")
    losses, rewards = [], run.rewards(objective.reward)
    for column, region in enumerate(run.described):
        captions, worth = [of_one[column] for of_one in run.candidates], rewards[:, column].tolist()
        eligible = [n for n, caption in enumerate(captions) if caption.texts[0].strip()]
        best = max(eligible, key=worth.__getitem__, default=0)
        is_found = run.candidate_iou[best, column] >= objective.min_iou
        if eligible and worth[best] > worth[0] + objective.margin_iou and is_found:
            losses.append(_cross_entropy(run, region, captions[best]))
    together = torch.cat(losses) if losses else rewards.new_zeros(0)
    run.table.add('loss_best', together, objective.weight, count=len(run.described))


@teach.register(WeightedCaptions)
def _(objective: WeightedCaptions, run: 'PlainRun') -> None:
    if len(run.candidates) < 2:
        return
    losses, rewards = [], run.rewards(objective.reward)
    for column, region in enumerate(run.described):
        worth, captions = rewards[:, column : column + 1], [of_one[column] for of_one in run.candidates]
        if worth.max() - worth.min() < objective.min_spread:
            continue
        means = torch.stack([_cross_entropy(run, region, caption) for caption in captions])
        written = [plain_passes.answer_ids(caption).tolist() for caption in captions]
        sums = means * torch.tensor([len(ids) for ids in written], device=means.device)[:, None]
        is_first = [ids not in written[:n] for n, ids in enumerate(written)]
        is_first_tensor = torch.tensor(is_first, device=means.device)[:, None]
        weights = objective.weighting(worth, -sums.detach(), is_first_tensor)
        taught = means if objective.by_token else sums
        losses += [
            weight * loss
            for weight, loss, caption in zip(weights, taught, captions)
            if caption.texts[0].strip()
        ]
    together = torch.cat(losses) if losses else rewards.new_zeros(0)
    run.table.add('loss_weighted', together, objective.weight, count=len(run.described))


@teach.register(TeacherIoU)
def _(objective: TeacherIoU, run: 'PlainRun') -> None:
    for region, caption, logits in zip(run.described, run.captions, run.scores):
        texts = _carry(objective, run.teacher, logits, caption)
        with part('teacher.segment'):
            result, views = plain_passes.segment(run.teacher, region, texts)
        assert views.masks is not None
        run.table.add('loss_iou', iou_loss(result.mask_logits, views.masks), objective.iou_weight)


@teach.register(SegmentCaptions)
def _(objective: SegmentCaptions, run: 'PlainRun') -> None:
    for column, (region, caption) in enumerate(zip(run.described, run.captions)):
        if objective.gate_iou > 0 and run.candidate_iou[0, column] < objective.gate_iou:
            continue
        if objective.min_confidence > 0:
            with part('student.score_at_start'):
                logits = plain_passes.score_at_start(run.student, region, caption)
            chances = logits.softmax(-1)[0].gather(1, plain_passes.answer_ids(caption)[:, None])
            if chances.min() < objective.min_confidence:
                continue
        run.teach_segmenter(region, run.student.embed_captions(caption.texts))


@teach.register(HumanExpressions)
def _(objective: HumanExpressions, run: 'PlainRun') -> None:
    for region in run.spoken:
        expressions = [str(text) for text in region.expressions]
        # An expression that fits nothing describes no mask.
        if objective.caption_weight and region.masks1[0].any():
            answer = run.student.text.encode_answers(expressions).to(region.image_index1.device)
            run.table.add('loss_caption', _cross_entropy(run, region, answer), objective.caption_weight)
        run.teach_segmenter(region, run.student.embed_expressions(expressions), objective.iou_weight)


@teach.register(NearStart)
def _(objective: NearStart, run: 'PlainRun') -> None:
    for region, caption, logits in zip(run.described, run.captions, run.scores):
        with part('student.score_at_start'):
            start = plain_passes.score_at_start(run.student, region, caption)
        is_token = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        run.table.add('loss_kl', kl_loss(logits, start, is_token), objective.weight)


def _cross_entropy(run: 'PlainRun', region: RegionBatch, caption: Captions) -> Tensor:
    return caption_loss(run.score(region, caption), plain_passes.answer_ids(caption)[None])


def _carry(objective: TeacherIoU, teacher: Sa2VA, logits: Tensor, caption: Captions) -> TextEmbeds:
    """One caption as embeddings that the teacher reads."""
    width = int(caption.in_caption.sum())
    ids = caption.ids[:, :width]
    banned = torch.tensor(teacher.text.banned_token_ids, device=ids.device)
    is_shared = torch.zeros(1, width, dtype=torch.bool, device=ids.device)
    is_shared[:, -1:] = caption.shares_last
    twins = TokenTwins(teacher.first_token_map, teacher.last_token_map, is_shared)
    allowed = logits[:, :width].index_fill(-1, banned, -torch.inf)
    embeds = objective.bridge(allowed, ids, teacher.embedding, twins)
    return TextEmbeds(embeds, torch.ones_like(is_shared))
