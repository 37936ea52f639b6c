"""Captions and masks of a batch with their controls, for validation."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..structures import CaptionIds, ImageFeatures, RegionBatch, RegionPrediction
from .sa2va import Sa2VA


@torch.no_grad()
def predict_regions(model: Sa2VA, batch: RegionBatch, max_caption_len: int) -> list[RegionPrediction]:
    """One :class:`RegionPrediction` per region.

    Every region is described and found again from its caption, with both
    controls; a region with a human expression is also segmented from that.
    """
    if len(batch) == 0:
        return []
    features = model.encode_images(batch.pixel_values, batch.num_tiles, batch.g_pixel_values)
    captions = model.describe(features, batch.image1, batch.visual_prompts, max_caption_len)
    predictions = _with_ground_truth(batch, model.text.decode(captions))
    for name, masks in _masks_from_captions(model, features, batch, captions).items():
        for prediction, mask in zip(predictions, masks):
            prediction.masks[name] = mask
    _add_masks_from_expressions(model, features, batch, predictions)
    return predictions


def upsample_mask(mask_logits: Tensor, grounding_size: int, size: Sequence[int]) -> Tensor:
    """Low-resolution logits ``[h, w]`` to a bool mask of ``size``, in upstream's two steps.

    Source: upstream Sa2VA ``predict_forward``: bilinear to the grounding
    encoder's size, bilinear to the image's, sigmoid > 0.5.
    """
    logits = mask_logits[None, None].float()
    for target in ((grounding_size, grounding_size), tuple(size)):
        logits = F.interpolate(logits, size=target, mode='bilinear', align_corners=False)
    return logits[0, 0].sigmoid() > 0.5


def _with_ground_truth(batch: RegionBatch, texts: list[str]) -> list[RegionPrediction]:
    predictions = []
    image2 = batch.image2.tolist()
    for row, text in enumerate(texts):
        same_image = [i for i in range(len(batch)) if image2[i] == image2[row]]
        images = (batch.image_ids[int(batch.image1[row])], batch.image_ids[image2[row]])
        predictions.append(
            RegionPrediction(
                dataset=batch.datasets[row],
                sample_id=batch.sample_ids[row],
                image_ids=images,
                expression=batch.expressions[row],
                caption=text,
                mask1=batch.masks1[row],
                mask2=batch.masks2[row],
                confusers=torch.stack([batch.masks2[i] for i in same_image]),
                confuser_index=same_image.index(row),
            )
        )
    return predictions


def _masks_from_captions(
    model: Sa2VA, features: ImageFeatures, batch: RegionBatch, captions: CaptionIds
) -> dict[str, list[Tensor]]:
    text, mask = model.embed_captions(captions)
    cases = {
        'caption': (batch.image2, text, mask, batch.masks2),
        'caption_same_view': (batch.image1, text, mask, batch.masks1),
        'caption_blank': (batch.image2, text, torch.zeros_like(mask), batch.masks2),
    }
    if len(batch) > 1:
        cases['caption_shuffled'] = (batch.image2, text.roll(1, 0), mask.roll(1, 0), batch.masks2)
    return {
        name: _segment(model, features, image, (text, mask), targets)
        for name, (image, text, mask, targets) in cases.items()
    }


def _add_masks_from_expressions(
    model: Sa2VA, features: ImageFeatures, batch: RegionBatch, predictions: list[RegionPrediction]
) -> None:
    rows = [i for i, expression in enumerate(batch.expressions) if expression is not None]
    if not rows:
        return
    text = model.embed_expressions([batch.expressions[i] for i in rows])
    masks = _segment(model, features, batch.image2[rows], text, [batch.masks2[i] for i in rows])
    for row, mask in zip(rows, masks):
        predictions[row].masks['expression'] = mask


def _segment(
    model: Sa2VA,
    features: ImageFeatures,
    image: Tensor,
    text: tuple[Tensor, Tensor],
    targets: list[Tensor],
) -> list[Tensor]:
    result = model.segment(features, image, *text)
    return [
        upsample_mask(logits, model.grounding_size, target.shape[-2:])
        for logits, target in zip(result.mask_logits, targets)
    ]
