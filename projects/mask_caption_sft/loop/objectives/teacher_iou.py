"""The teacher's mask from the caption, with a gradient through the text."""

from collections.abc import Callable
from typing import Any

import torch

from ...losses import iou_loss
from ...ops.build import build
from ...ops.caption_bridge import TokenTwins
from ...ops.mask import mask_iou
from ...structures import CaptionLogits, TextEmbeds
from ..step import Step
from .objective import Objective


class TeacherIoU(Objective):
    """``loss_iou`` of the teacher's mask in view 2 reaches the student through its caption.

    The teacher's weights take no gradient; its activations do.

    Args:
        bridge: What carries text across, see ``loop.bridges``.
        iou_weight: Weight of ``loss_iou``.
    """

    def __init__(self, bridge: Any, iou_weight: float = 1.0) -> None:
        self.bridge, self.iou_weight = build(bridge), iou_weight

    def ask(self, step: Step) -> Callable[[], CaptionLogits]:
        """The student's scores of its greedy captions."""
        return step.greedy_scores

    def teach(self, step: Step, asked: Callable[[], CaptionLogits]) -> None:
        """One pass of the teacher over the greedy captions, as the bridge carries them."""
        assert step.views2.masks is not None
        result = step.segment_with_gradient(self.carry(step))
        losses = iou_loss(result.mask_logits, step.views2.masks)
        step.table.add('loss_iou', losses, self.iou_weight)
        step.table.log_by_dataset('loss_iou', losses, step.datasets)
        iou = mask_iou(result.mask_logits > 0, step.views2.masks)
        step.table.log_by_dataset('iou', iou, step.datasets)
        step.table.log('signal/bridge_iou', iou)

    def carry(self, step: Step) -> TextEmbeds:
        """The greedy captions as embeddings that the segmenter reads."""
        captions, segmenter = step.captions, step.segmenter
        width = int(captions.in_caption.sum(1).max())
        banned = torch.tensor(segmenter.text.banned_token_ids, device=captions.ids.device)
        logits = step.greedy_scores().logits[:, :width].index_fill(-1, banned, -torch.inf)
        embeds = self.bridge(logits, captions.ids[:, :width], segmenter.embedding, token_twins(step, width))
        return TextEmbeds(embeds, captions.in_caption[:, :width])


def token_twins(step: Step, width: int) -> TokenTwins:
    """How the first ``width`` tokens of the greedy captions are read in the segment prompt."""
    captions, segmenter = step.captions, step.segmenter
    is_last = torch.arange(width, device=captions.ids.device) == captions.in_caption.sum(1)[:, None] - 1
    shared = is_last & captions.shares_last[:, None]
    return TokenTwins(segmenter.first_token_map, segmenter.last_token_map, shared)
