"""Captions and masks of a batch with their controls, for validation."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sa2va.sa2va import Sa2VA
from ..structures import CaptionIds, ImageFeatures, RegionBatch, RegionPrediction

#: An image of RefCOCO may have thirty expressions; so many run at once, which bounds memory.
REGIONS_AT_ONCE = 16


@torch.no_grad()
def predict_regions(model: Sa2VA, batch: RegionBatch, max_caption_len: int) -> list[RegionPrediction]:
    """One :class:`RegionPrediction` per region.

    Every region is described and found again from its caption. A region with a human
    expression is also segmented from that; one without, from the controls.
    """
    if len(batch) == 0:
        return []
    features = model.encode_images(batch.pixel_values, batch.num_tiles, batch.g_pixel_values)
    captions = _describe(model, features, batch, max_caption_len)
    predictions = _with_ground_truth(batch, model.text.decode(captions))
    _add_masks_from_captions(model, features, batch, captions, predictions)
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


def _add_masks_from_captions(
    model: Sa2VA,
    features: ImageFeatures,
    batch: RegionBatch,
    captions: CaptionIds,
    predictions: list[RegionPrediction],
) -> None:
    text, mask = model.embed_captions(captions)
    everyone = list(range(len(batch)))
    controlled = [row for row in everyone if batch.expressions[row] is None]
    others = controlled[-1:] + controlled[:-1]
    cases = {
        'caption': (everyone, batch.image2, text, mask, batch.masks2),
        'caption_same_view': (controlled, batch.image1, text[controlled], mask[controlled], batch.masks1),
        'caption_blank': (controlled, batch.image2, text[controlled], mask[controlled] & False, batch.masks2),
    }
    if len(controlled) > 1:
        cases['caption_shuffled'] = (controlled, batch.image2, text[others], mask[others], batch.masks2)
    for name, (rows, image, embeds, keep, targets) in cases.items():
        found = _segment(model, features, image[rows], (embeds, keep), [targets[row] for row in rows])
        for row, found_mask in zip(rows, found):
            predictions[row].masks[name] = found_mask


def _add_masks_from_expressions(
    model: Sa2VA, features: ImageFeatures, batch: RegionBatch, predictions: list[RegionPrediction]
) -> None:
    rows = [i for i, expression in enumerate(batch.expressions) if expression is not None]
    if not rows:
        return
    text = model.embed_expressions([str(batch.expressions[i]) for i in rows])
    masks = _segment(model, features, batch.image2[rows], text, [batch.masks2[i] for i in rows])
    for row, mask in zip(rows, masks):
        predictions[row].masks['expression'] = mask


def _describe(model: Sa2VA, features: ImageFeatures, batch: RegionBatch, max_caption_len: int) -> CaptionIds:
    rows = torch.arange(len(batch), device=batch.image1.device)
    parts = [
        model.describe(features, batch.image1[some], batch.visual_prompts[some], max_caption_len)
        for some in rows.split(REGIONS_AT_ONCE)
    ]
    return reduce(lambda first, second: first.append(second, model.text.tokenizer.pad_token_id), parts)


def _segment(
    model: Sa2VA,
    features: ImageFeatures,
    image: Tensor,
    text: tuple[Tensor, Tensor],
    targets: list[Tensor],
) -> list[Tensor]:
    found: list[Tensor] = []
    for rows in torch.arange(len(image), device=image.device).split(REGIONS_AT_ONCE):
        if len(rows):
            found += model.segment(features, image[rows], text[0][rows], text[1][rows]).mask_logits
    return [
        upsample_mask(logits, model.grounding_size, target.shape[-2:])
        for logits, target in zip(found, targets)
    ]
