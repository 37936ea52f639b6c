"""Trains a small Sa2VA from scratch on human expressions, as the base from which the loop starts."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..loop.data_preprocessor import RegionDataPreprocessor
from ..loop.predict import predict_regions
from ..losses import caption_loss, dice_loss, iou_loss, mask_bce_loss
from ..ops.build import build
from ..ops.mask import mask_iou, resize_masks
from ..sa2va.sa2va import Sa2VA
from ..structures import ImageFeatures, RegionBatch, RegionPrediction, RegionViews, Segmentation


class Sa2VABaseTraining(BaseModel):
    """Segmentation from expressions, and a little captioning, with every weight trained.

    Args:
        sa2va: The model.
        text_only_iters: For this many iterations at the start the language model sees the
            expression without image tokens. If it saw them from the beginning, it would
            learn to segment every shape instead.
        mixed_iters: For this many iterations after those, every other one has image tokens.
            Introduced all at once, they undo what the first phase has taught.
        caption_ratio: Share of regions whose expression also teaches captioning.
        caption_words: Only expressions made of these words teach it at that rate, the others at
            ``rest_caption_ratio``, so that captions are no better than fair and the loop has
            something to teach. None: all words.
        rest_caption_ratio: See ``caption_words``.
        caption_noise_ratio: Share of the captioned regions that are taught a neighbour's expression.
        max_caption_len: Longest caption in tokens, for validation.
        mask_weight: Weight of the cross-entropy.
        iou_weight: Weight of Dice and IoU loss.
    """

    def __init__(
        self,
        sa2va: Sa2VA | dict[str, Any],
        text_only_iters: int = 1000,
        mixed_iters: int = 3000,
        caption_ratio: float = 0.5,
        caption_words: Sequence[str] | None = None,
        rest_caption_ratio: float = 0.05,
        caption_noise_ratio: float = 0.2,
        max_caption_len: int = 12,
        mask_weight: float = 2.0,
        iou_weight: float = 1.0,
    ) -> None:
        super().__init__(dict(type=RegionDataPreprocessor))
        self.student: Sa2VA = build(sa2va, Sa2VA)
        self.text_only_iters, self.mixed_iters = text_only_iters, mixed_iters
        self.max_caption_len = max_caption_len
        self.caption_words = None if caption_words is None else set(caption_words)
        self.caption_ratio, self.rest_caption_ratio = caption_ratio, rest_caption_ratio
        self.caption_noise_ratio = caption_noise_ratio
        self.mask_weight, self.iou_weight = mask_weight, iou_weight
        self._num_iters = 0

    def forward(self, batch: RegionBatch, mode: str = 'loss') -> dict[str, Tensor] | list[RegionPrediction]:
        """Run ``'loss'`` or ``'predict'``, whichever MMEngine asks for."""
        if mode == 'predict':
            return predict_regions(self.student, batch, self.max_caption_len)
        return self.loss(batch)

    def loss(self, batch: RegionBatch) -> dict[str, Tensor]:
        """Mask losses on view 2 from each expression; caption loss on a share of the regions."""
        self._num_iters += 1
        model = self.student
        features = ImageFeatures(
            model.encode_tiles(batch.pixel_values),
            batch.num_tiles,
            model.encode_grounding(batch.g_pixel_values),
        )
        expressions = [str(text) for text in batch.expressions]
        text = model.embed_expressions(expressions)
        is_early = self._num_iters <= self.text_only_iters + self.mixed_iters
        with_image = self._num_iters > self.text_only_iters and (self._num_iters % 2 == 1 or not is_early)
        views2 = RegionViews(features, batch.image_index2)
        result = model.ask(features, show_images=with_image).segment(views2, text)()
        masks = resize_masks(batch.masks2, result.mask_logits.shape[-2:])
        answers = result.answer_ids.expand(len(batch), -1)
        # The predicted IoU chooses among the candidates, so it has to learn the real one.
        iou = mask_iou(result.mask_logits > 0, masks)
        losses = {
            'loss_mask': self.mask_weight * mask_bce_loss(result.mask_logits, masks).mean(),
            'loss_dice': self.iou_weight * dice_loss(result.mask_logits, masks).mean(),
            'loss_iou': self.iou_weight * iou_loss(result.mask_logits, masks).mean(),
            'loss_score': (result.iou_scores - iou).square().mean(),
            'loss_llm': 0.1 * caption_loss(result.answer_logits, answers).mean(),
            'loss_pick': pick_loss(result.mask_logits, masks, batch.image_index2),
            'iou': iou.mean(),
        }
        if is_early:
            losses['loss_words'] = self._words_loss(result, expressions)
        if with_image:
            losses['loss_caption'] = self._caption_loss(features, batch, expressions)
        return losses

    def _words_loss(self, result: Segmentation, expressions: list[str]) -> Tensor:
        """The state at ``[SEG]`` has to name the words of its expression, through the output matrix.

        Without this loss the states of all expressions first become alike, and stay so for a long time.
        """
        seg = (result.answer_ids == self.student.text.seg_token_id).nonzero()[0, 0]
        scores = result.answer_logits[:, seg + 1].log_softmax(-1)
        words = self.student.text.encode_expressions(expressions)
        return -torch.stack([row[ids].mean() for row, ids in zip(scores, words)]).mean()

    def _caption_loss(self, features: ImageFeatures, batch: RegionBatch, expressions: list[str]) -> Tensor:
        ratios = [self._caption_ratio_of(text) for text in expressions]
        rows = (torch.rand(len(batch)) < torch.tensor(ratios)).nonzero()[:, 0]
        if not len(rows):
            return features.vit.sum() * 0
        taught = [
            expressions[i - 1] if noisy else expressions[i]
            for i, noisy in zip(rows.tolist(), torch.rand(len(rows)) < self.caption_noise_ratio)
        ]
        views1 = RegionViews(features, batch.image_index1[rows], batch.visual_prompts[rows])
        scores = self.student.score(views1, self.student.text.encode_answers(taught).to(self.student.device))
        return caption_loss(scores.logits, scores.targets).mean()

    def _caption_ratio_of(self, text: str) -> float:
        is_covered = self.caption_words is None or set(text.split()) <= self.caption_words
        return self.caption_ratio if is_covered else self.rest_caption_ratio

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of ``loss_*``; everything else is only logged."""
        total = torch.stack([value for name, value in losses.items() if name.startswith('loss_')]).sum()
        return total, {'loss': total.detach()} | {name: value.detach() for name, value in losses.items()}


def pick_loss(mask_logits: Tensor, masks: Tensor, image_index: Tensor) -> Tensor:
    """Which region of its image an expression picks: cross-entropy over the regions' mean logits.

    The overlap losses alone get stuck for a long time at "segment every shape", where their
    sigmoids are saturated; this one has a gradient there.

    Args:
        mask_logits: ``[R, h, w]``, one per expression.
        masks: ``[R, h, w]`` bool, the expressions' own regions.
        image_index: ``[R]`` long; regions of the same image compete.

    Returns:
        Scalar; 0 for an expression alone in its image.
    """
    areas = masks.flatten(1).sum(1).clamp(min=1)
    scores = 0.25 * mask_logits.flatten(1) @ masks.flatten(1).to(mask_logits.dtype).t() / areas
    other_image = image_index[:, None] != image_index
    return cross_entropy(
        scores.masked_fill(other_image, -torch.inf), torch.arange(len(masks), device=masks.device)
    )
