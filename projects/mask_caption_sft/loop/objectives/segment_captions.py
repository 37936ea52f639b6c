"""The student's segmenter learns from the student's captions."""

from collections.abc import Callable
from dataclasses import dataclass

from ...structures import RegionViews, Segmentation
from ..step import Step
from .objective import Objective


@dataclass
class SegmentCaptions(Objective):
    """The student segments view 2 from its own captions; no gradient flows to the text.

    Args:
        gate_iou: Only captions from which the teacher's mask reached this IoU teach; 0 lets all pass,
            and then the teacher is not asked.
    """

    gate_iou: float = 0.5

    def ask(self, step: Step) -> tuple[RegionViews, list[str], Callable[[], Segmentation]] | None:
        """Regions whose captions pass the gate, their datasets and masks; None where none passes."""
        captions, views, datasets = step.captions, step.views2, step.datasets
        if self.gate_iou > 0:
            is_open = step.greedy_iou >= self.gate_iou
            step.table.log('signal/gate_open_ratio', is_open.float())
            rows = is_open.nonzero()[:, 0]
            captions, views = captions[rows], views[rows]
            datasets = [datasets[row] for row in rows.tolist()]
        if not len(views):
            return None
        texts = step.student.embed_captions(captions.texts)
        return views, datasets, step.questions.segment(views, texts)

    def teach(
        self, step: Step, asked: tuple[RegionViews, list[str], Callable[[], Segmentation]] | None
    ) -> None:
        """The losses on their masks."""
        if asked is not None:
            views, datasets, masks = asked
            step.segmentation_losses.teach(step.table, masks(), views, datasets)
