"""All K captions are taught, each by what it is worth."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...losses import caption_loss
from ...ops.build import build
from ...structures import CaptionLogits
from ..reward import Reward
from ..step import Step
from .objective import Objective


class WeightedCaptions(Objective):
    """Cross-entropy on all of a region's captions, weighted by their rewards; negative weights untaught.

    ``loss_best`` is averaged over all described regions. The value of a loss with negative weights says
    nothing; look at ``signal/reward``. An empty caption is never taught.

    Args:
        weighting: Rewards ``[K, R]``, log-probabilities ``[K, R]`` and which captions are the first of
            equal ones, to weights ``[K, R]``; see ``loop.caption_weights``.
        reward: See :class:`Reward`.
        weight: Weight of ``loss_best``.
        by_token: Cross-entropy is averaged over a caption's tokens; False sums it, as minimum risk and
            REINFORCE are written.
    """

    needs_candidates = True

    def __init__(
        self, weighting: Any, reward: Any = None, weight: float = 5.0, by_token: bool = True
    ) -> None:
        self.weighting, self.reward = build(weighting), build(reward or {}, Reward)
        self.weight, self.by_token = weight, by_token

    def ask(self, step: Step) -> Callable[[], CaptionLogits] | None:
        """The scores of all captions, equal ones of a region once; None where there is nothing to compare."""
        if step.num_captions < 2:
            return None
        _, first = self._distinct(step)
        return step.questions.score(step.views1[first % len(step.views1)], step.candidates[first])

    def teach(self, step: Step, asked: Callable[[], CaptionLogits] | None) -> None:
        """The weighted captions."""
        if asked is None:
            return
        numbers, first = self._distinct(step)
        scores = asked()
        lengths = step.candidates.mask.sum(1)[first]
        losses = caption_loss(scores.logits, scores.targets)
        sums = losses * lengths
        rewards = self.reward(step)
        is_first = torch.zeros_like(numbers, dtype=torch.bool).index_fill(0, first, True)
        weights = self.weighting(
            rewards, -sums.detach()[numbers].view(rewards.shape), is_first.view(rewards.shape)
        ).masked_fill(step.candidates.is_empty().view(rewards.shape), 0.0)
        taught = (losses if self.by_token else sums)[numbers].view(rewards.shape)
        step.table.add('loss_best', (weights * taught).sum(0), self.weight, count=len(step.views1))
        step.table.log('signal/reward', rewards.mean(0))
        step.table.log('signal/best_iou_gain', step.candidate_iou.max(0).values - step.greedy_iou)

    @staticmethod
    def _distinct(step: Step) -> tuple[Tensor, Tensor]:
        """Of K * W captions the number of each one's distinct case, and the position of each case's first."""
        written = [tuple(ids[keep].tolist()) for ids, keep in zip(step.candidates.ids, step.candidates.mask)]
        cases = [(position % len(step.views1), ids) for position, ids in enumerate(written)]
        number_of = {case: number for number, case in enumerate(dict.fromkeys(cases))}
        numbers = [number_of[case] for case in cases]
        device = step.views1.image_index.device
        first = [numbers.index(number) for number in range(len(number_of))]
        return torch.tensor(numbers, device=device), torch.tensor(first, device=device)
