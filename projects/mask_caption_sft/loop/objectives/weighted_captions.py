"""All K captions are taught, each by what it is worth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...losses import token_losses
from ...ops.build import build
from ...ops.distinct import first_of_equals
from ...structures import CaptionLogits
from ..reward import Reward
from ..step import Step
from ..word_weights import HeardWords, WordWeights
from .objective import Objective


class WeightedCaptions(Objective):
    """Cross-entropy on all of a region's captions, weighted by what each is worth; below 0 it is unlearned.

    ``loss_weighted`` is averaged over all described regions. Its value says little where weights are
    negative; look at ``signal/reward``. An empty caption is never taught.

    Args:
        weighting: Rewards ``[K, R]``, log-probabilities ``[K, R]`` and which captions are the first of
            equal ones, to weights ``[K, R]``; see ``loop.caption_weights``.
        reward: See :class:`Reward`; by default the IoU.
        weight: Weight of ``loss_weighted``.
        min_spread: Regions whose best and worst caption differ by less in their rewards are left out, and
            cost no pass of the student.
        by_token: Cross-entropy is averaged over a caption's tokens; False sums it, as minimum risk and
            REINFORCE are written.
        words: How strongly each word is taught besides, see :class:`WordWeights`. Captions are then compared
            by the sum of what their words add, not by the IoU from the whole. None: by whole captions alone.
    """

    needs_candidates = True

    def __init__(
        self,
        weighting: Any,
        reward: Any = None,
        weight: float = 5.0,
        min_spread: float = 0.0,
        by_token: bool = True,
        words: Any = None,
    ) -> None:
        self.weighting, self.reward = build(weighting), build(reward or {}, Reward)
        self.words = build(words, WordWeights)
        self.weight, self.min_spread, self.by_token = weight, min_spread, by_token

    def ask(self, step: Step) -> '_Group | None':
        """The scores of all captions of the regions with a spread; None where there is nothing to compare."""
        if step.num_captions < 2:
            return None
        heard = None
        if self.words is not None:
            about = torch.arange(len(step.candidates), device=step.candidates.ids.device) % len(step.views1)
            heard = self.words(step, about, step.candidates, step.candidate_iou.flatten())
        rewards = self.reward(step, None if heard is None else heard.worth.view_as(step.candidate_iou))
        step.table.log('signal/reward', rewards.mean(0))
        step.table.log('signal/best_iou_gain', step.candidate_iou.max(0).values - step.greedy_iou)
        has_spread = rewards.max(0).values - rewards.min(0).values >= self.min_spread
        rows = has_spread.nonzero()[:, 0]
        step.table.log('signal/taught_ratio', has_spread.float())
        return _Group.of(step, rows, rewards[:, rows], heard) if len(rows) else None

    def teach(self, step: Step, asked: '_Group | None') -> None:
        """The weighted captions."""
        if step.num_captions < 2:
            return
        losses = step.table.graph.new_zeros(0) if asked is None else self._losses(asked)
        step.table.add('loss_weighted', losses, self.weight, count=len(step.views1))

    def _losses(self, group: '_Group') -> Tensor:
        """``[R]``, of the regions with a spread."""
        scores = group.scores()
        losses = token_losses(scores.logits, scores.targets)[group.numbers]
        weights = self.weighting(group.rewards, -losses.detach().sum(-1), group.is_first)
        weights = weights.masked_fill(group.is_empty, 0.0)[..., None]
        if group.word_weights is not None:
            weights = weights + group.word_weights[group.numbers] / len(weights)
        lengths = group.lengths if self.by_token else torch.ones_like(group.lengths)
        return ((weights * losses).sum(-1) / lengths.clamp(min=1)).sum(0)


@dataclass
class _Group:
    """K captions of each of R regions; equal ones of a region are scored once.

    Attributes:
        rewards, lengths, is_first, is_empty: ``[K, R]``: what each is worth, its number of tokens, whether no
            earlier one is equal to it, and whether it says nothing.
        numbers: ``[K, R]`` long, where the scores of each are.
        scores: Gives those scores, of S captions.
        word_weights: ``[S, L]``, of their tokens.
    """

    rewards: Tensor
    lengths: Tensor
    is_first: Tensor
    is_empty: Tensor
    numbers: Tensor
    scores: Callable[[], CaptionLogits]
    word_weights: Tensor | None

    @classmethod
    def of(cls, step: Step, rows: Tensor, rewards: Tensor, heard: HeardWords | None) -> '_Group':
        """Those of some regions ``[R]``, which are asked for."""
        positions = torch.arange(len(step.candidates), device=rows.device).view(-1, len(step.views1))[:, rows]
        captions = step.candidates[positions.flatten()]
        written = [tuple(ids[keep].tolist()) for ids, keep in zip(captions.ids, captions.mask)]
        first, numbers = first_of_equals(list(zip(rows.repeat(len(rewards)).tolist(), written)))
        scored = torch.tensor(first, device=rows.device)
        about = rows[scored % len(rows)]
        return cls(
            rewards=rewards,
            lengths=captions.mask.sum(1).view_as(rewards),
            is_first=torch.isin(torch.arange(len(captions), device=rows.device), scored).view_as(rewards),
            is_empty=captions.is_empty().view_as(rewards),
            numbers=torch.tensor(numbers, device=rows.device).view_as(rewards),
            scores=step.questions.score(step.views1[about], captions[scored]),
            word_weights=None if heard is None else heard.weights[positions.flatten()[scored]],
        )
