"""People's words, both ways: mask to expression and expression to mask."""

from dataclasses import dataclass

from ...losses import caption_loss
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

    def teach(self, step: Step) -> None:
        """Both directions."""
        if not step.expressions:
            return
        if self.caption_weight:
            self._teach_words(step)
        texts = step.student.embed_expressions(step.expressions)
        step.segment_as_student(step.spoken2, texts, step.spoken_datasets, self.iou_weight)

    def _teach_words(self, step: Step) -> None:
        assert step.spoken1.masks is not None
        answers = step.student.text.encode_answers(step.expressions).to(step.spoken1.image_index.device)
        scores = step.student.score(step.spoken1, answers)
        # An expression that fits nothing (gRefCOCO) describes no mask.
        is_there = step.spoken1.masks.flatten(1).any(1)
        losses = caption_loss(scores.logits, scores.targets)
        step.table.add('loss_caption', losses[is_there], self.caption_weight)
