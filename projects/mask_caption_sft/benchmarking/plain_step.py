"""The two-stage step as one would write it first: region by region, pass by pass, nothing shared."""

from collections.abc import Callable
from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor

from ..loop.mask_caption_sft import MaskCaptionSFT
from ..loop.reward import Reward
from ..losses import LossTable
from ..ops.mask import mask_iou, resize_masks
from ..ops.precision import without_gradient
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionBatch, TextEmbeds
from . import plain_passes
from .parts import part
from .plain_objectives import teach


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
        run = PlainRun(self, described, spoken, table, captions)
        for name, objective in objectives.items():
            if described or not objective.needs_captions:
                with part(name):
                    teach(objective, run)
        return table.averages()


def full_copy(sa2va: Sa2VA) -> Sa2VA:
    """A copy that shares no tensor."""
    shared = (sa2va.text, sa2va.config)
    return deepcopy(sa2va, {id(item): item for item in shared})


class PlainRun:
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
    def candidate_masks(self) -> list[list[Tensor]]:
        """The teacher's mask ``[1, h, w]`` bool from each of K captions of each of W regions."""
        return [[self._find(*pair) for pair in zip(self.described, of_one)] for of_one in self.candidates]

    def _find(self, region: RegionBatch, caption: Captions) -> Tensor:
        texts = self.teacher.embed_captions(caption.texts)
        with part('teacher.segment'):
            result, _ = plain_passes.segment(self.teacher, region, texts)
        return result.mask_logits > 0

    @cached_property
    def candidate_iou(self) -> Tensor:
        """``[K, W]``: IoU of these masks with the regions that the captions are about."""
        return self._table(lambda k, w: self._iou(self.candidate_masks[k][w], self.described[w]))

    def rewards(self, reward: Reward) -> Tensor:
        """``[K, W]``: what each caption is worth."""
        found = self.candidate_iou
        if reward.confuser_weight:
            found = found - reward.confuser_weight * self._table(self._confuser_iou)
        if reward.token_cost:
            found = found - reward.token_cost * self._table(
                lambda k, w: self.candidates[k][w].in_caption.sum().item()
            )
        return found

    def _confuser_iou(self, number: int, column: int) -> float:
        """The best IoU of a caption's mask with another described region of its image."""
        image = _second_image(self.described[column])
        others = [r for w, r in enumerate(self.described) if w != column and _second_image(r) == image]
        return max((self._iou(self.candidate_masks[number][column], other) for other in others), default=0.0)

    def _iou(self, found: Tensor, region: RegionBatch) -> float:
        return mask_iou(found, resize_masks(region.masks2, found.shape[1:])).item()

    def _table(self, value: Callable[[int, int], float]) -> Tensor:
        """``[K, W]``, of each caption's and region's number."""
        rows = [[value(k, w) for w in range(len(self.described))] for k in range(len(self.candidates))]
        return torch.tensor(rows, device=self.described[0].image_index1.device)

    def teach_segmenter(self, region: RegionBatch, texts: TextEmbeds, iou_weight: float = 0.0) -> None:
        """The student's losses on one mask."""
        with part('student.segment'):
            result, views = plain_passes.segment(self.student, region, texts)
        losses = self.model.segmentation_losses
        losses.teach(self.table, result, views, region.datasets, iou_weight)


def _second_image(region: RegionBatch) -> str:
    return region.image_ids[int(region.image_index2[0])]
