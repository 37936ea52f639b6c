"""The student's segmenter learns from the student's captions."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...losses import token_losses
from ...structures import CaptionLogits, Segmentation
from ..step import Step
from .objective import Objective

#: The regions ``[N]`` whose captions passed the gates, and their masks.
_Asked = tuple[Tensor, Callable[[], Segmentation]]


@dataclass
class SegmentCaptions(Objective):
    """The student segments view 2 from its own captions; no gradient flows to the text.

    Two gates keep false captions from being learned. The teacher's IoU admits what is already
    found, so it sharpens what the segmenter knows and teaches no new word. The describer's confidence
    admits what it was sure of before training, whether or not anyone finds it yet. In training it
    becomes sure of whatever is found, false or not, so its present confidence would tell nothing.

    Args:
        gate_iou: Only captions from which the teacher's mask reached this IoU teach; 0 lets all pass,
            and then the teacher is not asked.
        min_confidence: Only captions teach of whose tokens the least likely one has this probability for
            the model before training; 0 lets all pass.
    """

    gate_iou: float = 0.5
    min_confidence: float = 0.0

    def ask(self, step: Step) -> _Asked | None:
        """Regions whose captions pass both gates, and their masks; None where none passes."""
        rows = torch.arange(len(step.views2), device=step.views2.image_index.device)
        if self.gate_iou > 0:
            is_open = step.greedy_iou >= self.gate_iou
            step.table.log('signal/gate_open_ratio', is_open.float())
            rows = rows[is_open]
        if self.min_confidence > 0 and len(rows):
            is_sure = confidence(step.start_scores)[rows] >= self.min_confidence
            step.table.log('signal/sure_ratio', is_sure.float())
            rows = rows[is_sure]
        if not len(rows):
            return None
        texts = step.student.embed_captions(step.captions[rows].texts)
        return rows, step.questions.segment(step.views2[rows], texts)

    def teach(self, step: Step, asked: _Asked | None) -> None:
        """The losses on their masks."""
        if asked is None:
            return
        rows, masks = asked
        datasets = [step.datasets[row] for row in rows.tolist()]
        step.segmentation_losses.teach(step.table, masks(), step.views2[rows], datasets)


def confidence(scores: CaptionLogits) -> Tensor:
    """``[R]``: the probability of the least likely token of each caption, its end of turn included.
    One wrong word makes a caption false, so the mean over its tokens would not do."""
    return (-token_losses(scores.logits, scores.targets).amax(1)).exp()
