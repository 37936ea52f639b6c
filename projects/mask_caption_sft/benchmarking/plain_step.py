"""The two-stage step as one would write it first: region by region, pass by pass, nothing shared."""

from copy import deepcopy
from functools import cached_property, singledispatch

import torch
from torch import Tensor

from ..loop.mask_caption_sft import MaskCaptionSFT
from ..loop.objectives import (
    BestOfK,
    HumanExpressions,
    NearStart,
    Objective,
    SegmentCaptions,
    TeacherIoU,
)
from ..losses import LossTable, caption_loss, iou_loss, kl_loss
from ..ops.caption_bridge import TokenTwins
from ..ops.mask import mask_iou
from ..ops.precision import without_gradient
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionBatch, TextEmbeds
from . import plain_passes
from .parts import part


class PlainStep:
    """Gives the losses of :meth:`MaskCaptionSFT.loss`, with the same student, settings and objectives.

    The teacher is a full copy. Captions are written one by one, all of them are segmented, and every pass
    runs every encoder and its whole prompt again, see ``plain_passes``. It is what the step of ``loop`` is
    measured against, and a second opinion on its losses and gradients. What is only logged is left out.

    Args:
        model: The student is trained in place; its teacher is copied as it is now.
    """

    def __init__(self, model: MaskCaptionSFT) -> None:
        self.model, self.student = model, model.student
        self.teacher = self.student if model.segmenter is self.student else full_copy(model.teacher)

    def loss(self, batch: RegionBatch, captions: Captions | None = None) -> dict[str, Tensor]:
        """Weighted losses of one batch, for :meth:`MaskCaptionSFT.parse_losses`.

        Args:
            batch: As the model gets it.
            captions: K captions of each described region, in the order of :meth:`Sa2VA.describe`; they are
                written here if None.
        """
        objectives = self.model.objectives
        table = LossTable(graph=next(self.student.text_hidden_fcs.parameters()).sum() * 0.0)
        regions = [batch[[row]] for row in range(len(batch))]
        described = [region for region in regions if region.expressions[0] is None]
        described = described if any(o.needs_captions for o in objectives.values()) else []
        spoken = [region for region in regions if region.expressions[0] is not None]
        run = _Run(self, described, spoken, table, captions)
        for name, objective in objectives.items():
            if described or not objective.needs_captions:
                with part(name):
                    teach(objective, run)
        return table.averages()


def full_copy(sa2va: Sa2VA) -> Sa2VA:
    """A copy that shares no tensor."""
    shared = (sa2va.text, sa2va.config)
    return deepcopy(sa2va, {id(item): item for item in shared})


class _Run:
    """One batch: its W described regions, its regions with a human expression, and what was written."""

    def __init__(
        self,
        step: PlainStep,
        described: list[RegionBatch],
        spoken: list[RegionBatch],
        table: LossTable,
        captions: Captions | None,
    ) -> None:
        self.model, self.student, self.teacher = step.model, step.student, step.teacher
        self.described, self.spoken, self.table, self.given = described, spoken, table, captions

    @cached_property
    def candidates(self) -> list[list[Captions]]:
        """K lists of W captions, the greedy ones first."""
        compares = any(objective.needs_candidates for objective in self.model.objectives.values())
        num_captions, width = self.model.num_captions if compares else 1, len(self.described)
        if self.given is not None:
            device = self.given.ids.device
            rows = torch.arange(num_captions * width, device=device).view(num_captions, width, 1)
            return [[self.given[row] for row in of_one] for of_one in rows]
        with part('student.describe'):
            return [[self._write(region, k) for region in self.described] for k in range(num_captions)]

    def _write(self, region: RegionBatch, number: int) -> Captions:
        sampling = self.model.sampling if number else None
        return plain_passes.write(self.student, region, self.model.max_caption_len, sampling)

    @cached_property
    def captions(self) -> list[Captions]:
        """The W greedy ones."""
        return self.candidates[0]

    @cached_property
    def scores(self) -> list[Tensor]:
        """The student's logits ``[1, L, V]`` for them."""
        return [self.score(region, caption) for region, caption in zip(self.described, self.captions)]

    def score(self, region: RegionBatch, caption: Captions) -> Tensor:
        with part('student.score'):
            return plain_passes.score(self.student, region, caption)

    @cached_property
    @without_gradient()
    def candidate_iou(self) -> Tensor:
        """``[K, W]``: IoU of the teacher's mask from each caption."""
        found = [[self._judge(*pair) for pair in zip(self.described, of_one)] for of_one in self.candidates]
        return torch.tensor(found, device=self.described[0].image_index1.device)

    def _judge(self, region: RegionBatch, caption: Captions) -> float:
        texts = self.teacher.embed_captions(caption.texts)
        with part('teacher.segment'):
            result, views = plain_passes.segment(self.teacher, region, texts)
        assert views.masks is not None
        return mask_iou(result.mask_logits > 0, views.masks).item()

    def teach_segmenter(self, region: RegionBatch, texts: TextEmbeds, iou_weight: float = 0.0) -> None:
        """The student's losses on one mask."""
        with part('student.segment'):
            result, views = plain_passes.segment(self.student, region, texts)
        losses = self.model.segmentation_losses
        losses.teach(self.table, result, views, region.datasets, iou_weight)


@singledispatch
def teach(objective: Objective, run: _Run) -> None:
    """What an objective of ``loop.objectives`` teaches, written plainly.

    Raises:
        TypeError: It is none of them.
    """
    raise TypeError(f'{type(objective).__name__} has no plain form. Write one in benchmarking/plain_step.py.')


@teach.register
def _(objective: BestOfK, run: _Run) -> None:
    if len(run.candidates) < 2:
        return
    losses = []
    for column, region in enumerate(run.described):
        iou = run.candidate_iou[:, column].tolist()
        texts = [of_one[column].texts[0] for of_one in run.candidates]
        worth = [value if text.strip() else -1.0 for value, text in zip(iou, texts)]
        best = max(range(len(worth)), key=worth.__getitem__)
        if worth[best] > iou[0] + objective.margin_iou and worth[best] >= objective.min_iou:
            losses.append(_cross_entropy(run, region, run.candidates[best][column]))
    together = torch.cat(losses) if losses else run.candidate_iou.new_zeros(0)
    run.table.add('loss_best', together, objective.weight, count=len(run.described))


@teach.register
def _(objective: TeacherIoU, run: _Run) -> None:
    for region, caption, logits in zip(run.described, run.captions, run.scores):
        texts = _carry(objective, run.teacher, logits, caption)
        with part('teacher.segment'):
            result, views = plain_passes.segment(run.teacher, region, texts)
        assert views.masks is not None
        run.table.add('loss_iou', iou_loss(result.mask_logits, views.masks), objective.iou_weight)


@teach.register
def _(objective: SegmentCaptions, run: _Run) -> None:
    for column, (region, caption) in enumerate(zip(run.described, run.captions)):
        if objective.gate_iou <= 0 or run.candidate_iou[0, column] >= objective.gate_iou:
            run.teach_segmenter(region, run.student.embed_captions(caption.texts))


@teach.register
def _(objective: HumanExpressions, run: _Run) -> None:
    for region in run.spoken:
        expressions = [str(text) for text in region.expressions]
        # An expression that fits nothing describes no mask.
        if objective.caption_weight and region.masks1[0].any():
            answer = run.student.text.encode_answers(expressions).to(region.image_index1.device)
            run.table.add('loss_caption', _cross_entropy(run, region, answer), objective.caption_weight)
        run.teach_segmenter(region, run.student.embed_expressions(expressions), objective.iou_weight)


@teach.register
def _(objective: NearStart, run: _Run) -> None:
    for region, caption, logits in zip(run.described, run.captions, run.scores):
        with part('student.score_at_start'):
            start = plain_passes.score_at_start(run.student, region, caption)
        is_token = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
        run.table.add('loss_kl', kl_loss(logits, start, is_token), objective.weight)


def _cross_entropy(run: _Run, region: RegionBatch, caption: Captions) -> Tensor:
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
