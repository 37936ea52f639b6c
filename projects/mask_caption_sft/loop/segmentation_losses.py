"""What the student's own masks are compared by."""

from dataclasses import dataclass

from ..losses import LossTable, caption_loss, dice_loss, iou_loss, mask_bce_loss, sample_points
from ..ops.mask import mask_iou
from ..structures import RegionViews, Segmentation


@dataclass
class SegmentationLosses:
    """Upstream's losses on masks and on the answer that holds ``[SEG]``.

    Args:
        mask_weight: Weight of ``loss_mask``, the sigmoid cross-entropy.
        dice_weight: Weight of ``loss_dice``.
        llm_weight: Weight of ``loss_llm``, the cross-entropy of "Sure, [SEG]." and its end of turn.
        num_points: Points at which ``loss_mask`` and ``loss_dice`` are sampled; 0 for all pixels.
    """

    mask_weight: float = 2.0
    dice_weight: float = 0.5
    llm_weight: float = 1.0
    num_points: int = 12544

    def teach(
        self,
        table: LossTable,
        result: Segmentation,
        views: RegionViews,
        datasets: list[str],
        iou_weight: float = 0.0,
    ) -> None:
        """Add the losses of N regions.

        Args:
            table: To add them to.
            result: The student's masks.
            views: N regions with their masks.
            datasets: N names.
            iou_weight: Weight of ``loss_iou``, for texts that people wrote.
        """
        assert views.masks is not None
        logits, targets = result.mask_logits, views.masks
        if self.num_points:
            logits, targets = sample_points(logits, targets, self.num_points)
        table.add('loss_mask', mask_bce_loss(logits, targets), self.mask_weight)
        table.add('loss_dice', dice_loss(logits, targets), self.dice_weight)
        answers = result.answer_ids.expand(len(views), -1)
        table.add('loss_llm', caption_loss(result.answer_logits, answers), self.llm_weight)
        if iou_weight:
            losses = iou_loss(result.mask_logits, views.masks)
            table.add('loss_iou', losses, iou_weight)
            table.log_by_dataset('loss_iou', losses, datasets)
            table.log_by_dataset('iou', mask_iou(result.mask_logits > 0, views.masks), datasets)
