"""People's words, both ways: mask to expression and expression to mask."""

from collections.abc import Callable
from dataclasses import dataclass

from ...losses import caption_loss
from ...structures import CaptionLogits, Segmentation
from ..step import Step
from .objective import Objective


@dataclass
class HumanExpressions(Objective):
    """Regions with a human expression; it is written from view 1 and found in view 2.

    Args:
        caption_weight: Weight of ``loss_caption`` (mask to words).
        iou_weight: Weight of ``loss_iou`` (words to mask), in addition to
            ``model.segmentation_losses``.
    """

    caption_weight: float = 1.0
    iou_weight: float = 1.0

    needs_captions = False

    def ask(self, step: Step) -> tuple[Callable[[], CaptionLogits] | None, Callable[[], Segmentation]] | None:
        """Scores of the expressions, where they are taught, and masks; None where nobody said anything."""
        if not step.expressions:
            return None
        texts = step.student.embed_expressions(step.expressions)
        return self._ask_words(step), step.questions.segment(step.spoken2, texts)

    def _ask_words(self, step: Step) -> Callable[[], CaptionLogits] | None:
        if not self.caption_weight:
            return None
        answers = step.student.text.encode_answers(step.expressions).to(step.spoken1.image_index.device)
        return step.questions.score(step.spoken1, answers)

    def teach(
        self, step: Step, asked: tuple[Callable[[], CaptionLogits] | None, Callable[[], Segmentation]] | None
    ) -> None:
        """Both directions."""
        if asked is None:
            return
        words, masks = asked
        if words is not None:
            assert step.spoken1.masks is not None
            losses = caption_loss(words().logits, words().targets)
            # An expression that fits nothing (gRefCOCO) describes no mask.
            is_there = step.spoken1.masks.flatten(1).any(1)
            step.table.add('loss_caption', losses[is_there], self.caption_weight)
        step.segmentation_losses.teach(
            step.table, masks(), step.spoken2, step.spoken_datasets, self.iou_weight
        )
