"""How strongly each of K captions of a region is taught, given what each is worth."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class SoftmaxWeights:
    """All captions are taught, the better the more: the softmax of their rewards (reward-weighted
    regression, Peters and Schaal 2007).

    Args:
        temperature: In units of the reward; towards 0 only the best one is taught.
    """

    temperature: float = 0.1

    def __call__(self, rewards: Tensor, log_probs: Tensor, is_first: Tensor) -> Tensor:
        """``[K, R]``, which sum to 1 over each region's captions."""
        return (rewards / self.temperature).softmax(0)


@dataclass
class AdvantageWeights:
    """What is better than the region's mean is taught, what is worse is untaught: REINFORCE with the
    group's mean as its baseline. With ``normalize`` it is the advantage of GRPO (Shao et al. 2024), whose
    clipping never acts where each caption is used for one update.

    Args:
        normalize: Divide by the standard deviation of the group, so that small differences count as much as
            large ones.
    """

    normalize: bool = False

    def __call__(self, rewards: Tensor, log_probs: Tensor, is_first: Tensor) -> Tensor:
        """``[K, R]``, which sum to 0 over each region's captions."""
        weights = rewards - rewards.mean(0)
        if self.normalize:
            weights = weights / (rewards.std(0, correction=0) + 1e-4)
        return weights / len(rewards)


@dataclass
class MinimumRiskWeights:
    r"""The gradient of the expected reward under the model's own distribution over the captions that it
    wrote (minimum risk training, Shen et al. 2016).

    .. math:: q_k \propto p_k^\alpha, \quad
        \nabla \sum_k q_k r_k = \sum_k \alpha q_k (r_k - \bar r) \nabla \log p_k

    Args:
        sharpness: :math:`\alpha`; small values make the distribution flat.
    """

    sharpness: float = 0.05

    def __call__(self, rewards: Tensor, log_probs: Tensor, is_first: Tensor) -> Tensor:
        """``[K, R]``; equal captions of a region count once."""
        chances = (self.sharpness * log_probs).masked_fill(~is_first, -torch.inf).softmax(0)
        return self.sharpness * chances * (rewards - (chances * rewards).sum(0))
