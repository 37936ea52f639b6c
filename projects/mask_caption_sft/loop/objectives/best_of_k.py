"""Supervised by selection: the best of K captions is taught."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ...losses import caption_loss
from ...ops.build import build
from ...ops.xtuner_parts import IGNORE_INDEX
from ...structures import CaptionLogits
from ..candidates import best_candidates
from ..reward import Reward
from ..step import Step
from ..word_credit import WordCredit
from .objective import Objective


@dataclass
class BestOfK(Objective):
    """Of a region's K captions, the one from which the teacher's mask is best is taught by cross-entropy.

    ``loss_best`` is averaged over all described regions, those without a better caption included: it fades
    as less is left to learn, and one lucky caption does not outweigh everything else. An empty
    caption is never taught; one that reached the length limit is taught without an end.

    Args:
        weight: Weight of ``loss_best``.
        margin_iou: How much better than the greedy caption the best must be, in the reward.
        min_iou: The least IoU of a caption that is worth teaching.
        reward: What is compared, see :class:`Reward`; by default the IoU.
        credit: Which words of the best caption are taught, see :class:`WordCredit`; None teaches all.
    """

    weight: float = 5.0
    margin_iou: float = 0.05
    min_iou: float = 0.5
    reward: Any = field(default_factory=Reward)
    credit: Any = None

    needs_candidates = True

    def __post_init__(self) -> None:
        self.reward, self.credit = build(self.reward, Reward), build(self.credit, WordCredit)

    def ask(self, step: Step) -> Callable[[], CaptionLogits] | None:
        """Select; the scores of the captions to be taught, None where there is nothing to teach."""
        if step.num_captions < 2:
            return None
        rewards, num_regions = self.reward(step), len(step.views1)
        best_reward, best = best_candidates(rewards, step.candidates)
        best_iou = step.candidate_iou.gather(0, best[None])[0]
        is_better = (best_reward > rewards[0] + self.margin_iou) & (best_iou >= self.min_iou)
        step.table.log('signal/best_iou_gain', best_iou - step.greedy_iou)
        step.table.log('signal/taught_ratio', is_better.float())
        step.table.log('signal/empty_best_ratio', (rewards.max(0).values > best_reward).float())
        rows = is_better.nonzero()[:, 0]
        if not len(rows):
            return None
        captions = step.candidates[best[rows] * num_regions + rows]
        scores = step.questions.score(step.views1[rows], captions)
        if self.credit is None:
            return scores
        taught = self.credit(step, rows, captions, best_iou[rows])
        step.table.log('signal/helping_ratio', taught[captions.in_caption].float())
        return lambda: CaptionLogits(scores().logits, scores().targets.masked_fill(~taught, IGNORE_INDEX))

    def teach(self, step: Step, asked: Callable[[], CaptionLogits] | None) -> None:
        """The selected captions."""
        if step.num_captions < 2:
            return
        losses = torch.zeros(0, device=step.views1.image_index.device)
        if asked is not None:
            scores = asked()
            losses = caption_loss(scores.logits, scores.targets)
        step.table.add('loss_best', losses, self.weight, count=len(step.views1))
