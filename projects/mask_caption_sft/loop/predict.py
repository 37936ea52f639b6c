"""Captions and masks of a batch with their controls, for validation."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionBatch, RegionPrediction, RegionViews, TextEmbeds

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
    views1, views2 = model.look(batch)
    captions = _describe(model, views1, max_caption_len)
    predictions = _with_ground_truth(batch, captions.texts)
    _add_masks_from_captions(model, (views1, views2), batch, captions, predictions)
    _add_masks_from_expressions(model, views2, batch, predictions)
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


def _add_masks_from_captions(model, views, batch: RegionBatch, captions: Captions, predictions) -> None:
    views1, views2 = views
    text = model.embed_captions(captions.texts)
    everyone = list(range(len(batch)))
    controlled = [row for row in everyone if batch.expressions[row] is None]
    others = controlled[-1:] + controlled[:-1]
    blank = model.embed_captions([''] * len(controlled))

    def at(rows):
        return torch.tensor(rows, dtype=torch.long, device=batch.image1.device)

    cases = {
        'caption': (everyone, views2, text, batch.masks2),
        'caption_same_view': (controlled, views1, text[at(controlled)], batch.masks1),
        'caption_blank': (controlled, views2, blank, batch.masks2),
    }
    if len(controlled) > 1:
        cases['caption_shuffled'] = (controlled, views2, text[at(others)], batch.masks2)
    for name, (rows, view, texts, targets) in cases.items():
        found = _segment(model, view[at(rows)], texts, [targets[row] for row in rows])
        for row, found_mask in zip(rows, found):
            predictions[row].masks[name] = found_mask


def _add_masks_from_expressions(model, views2, batch, predictions) -> None:
    rows = [i for i, expression in enumerate(batch.expressions) if expression is not None]
    if not rows:
        return
    text = model.embed_expressions([str(batch.expressions[i]) for i in rows])
    index = torch.tensor(rows, device=batch.image1.device)
    masks = _segment(model, views2[index], text, [batch.masks2[i] for i in rows])
    for row, mask in zip(rows, masks):
        predictions[row].masks['expression'] = mask


def _describe(model: Sa2VA, views: RegionViews, max_caption_len: int) -> Captions:
    rows = torch.arange(len(views), device=views.image.device)
    parts = [model.describe(views[some], max_caption_len) for some in rows.split(REGIONS_AT_ONCE)]
    return reduce(lambda first, second: first.cat(second), parts)


def _segment(model: Sa2VA, views: RegionViews, texts: TextEmbeds, targets: list[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    for rows in torch.arange(len(views), device=views.image.device).split(REGIONS_AT_ONCE):
        if len(rows):
            found += model.segment(views[rows], texts[rows]).mask_logits
    return [
        upsample_mask(logits, model.grounding_size, target.shape[-2:])
        for logits, target in zip(found, targets)
    ]
