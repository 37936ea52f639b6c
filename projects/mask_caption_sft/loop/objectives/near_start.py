"""The captions stay near the language that the model started with."""

from collections.abc import Callable
from dataclasses import dataclass

from ...losses import kl_loss
from ...structures import CaptionLogits
from ..step import Step
from .objective import Objective


@dataclass
class NearStart(Objective):
    """``loss_kl``: the distribution of a written caption's tokens, compared with the model before training.

    Args:
        weight: Weight of ``loss_kl``.
    """

    weight: float = 0.05

    def ask(self, step: Step) -> Callable[[], CaptionLogits]:
        """The student's scores of its greedy captions."""
        return step.greedy_scores

    def teach(self, step: Step, asked: Callable[[], CaptionLogits]) -> None:
        """Over caption and end of turn."""
        kl = kl_loss(asked().logits, step.start_scores.logits, step.captions.mask)
        del step.start_scores  # a whole vocabulary per token, which nobody needs in the backward pass
        step.table.add('loss_kl', kl, self.weight)
        step.table.log('signal/kl', kl)
