"""Numbers that show when the loop cheats; logged, never trained on."""

from collections import Counter

import torch
from torch import Tensor

from ..ops.controls import other_regions
from ..ops.mask import mask_iou
from ..ops.text import distinct_ratio
from ..sa2va.sa2va import Sa2VA
from ..structures import CaptionIds, ImageFeatures


@torch.no_grad()
def caption_controls(
    segmenter: Sa2VA,
    features: ImageFeatures,
    images: tuple[Tensor, Tensor],
    captions: CaptionIds,
    masks: tuple[Tensor, Tensor],
) -> dict[str, Tensor]:
    """IoU from the written caption, and from captions that should not work.

    Args:
        segmenter: The model that reads the captions.
        features: Of I images.
        images: ``[R]`` long each, the image of each region's first and second view.
        captions: R written captions.
        masks: ``[R, h, w]`` bool each, the ground truth in each view.

    Returns:
        ``[R]`` IoU by control: ``caption_iou`` (second view), ``same_view_iou``,
        ``shuffled_iou`` (the caption of another region, of the same image where there
        is one) and ``blank_iou``. With one region there is nothing to shuffle with.
    """
    embeds, mask = segmenter.embed_captions(captions)
    others = other_regions(images[0])
    cases = {
        'caption_iou': (images[1], embeds, mask, masks[1]),
        'same_view_iou': (images[0], embeds, mask, masks[0]),
        'shuffled_iou': (images[1], embeds[others], mask[others], masks[1]),
        'blank_iou': (images[1], embeds, torch.zeros_like(mask), masks[1]),
    }
    if len(captions) < 2:
        del cases['shuffled_iou']
    image, text, keep, target = (torch.cat(column) for column in zip(*cases.values()))
    predicted = segmenter.segment(features, image, text, keep).mask_logits > 0
    return dict(zip(cases, mask_iou(predicted, target).split(len(captions))))


def caption_statistics(texts: list[str], captions: CaptionIds) -> dict[str, float]:
    """Length, diversity and monotony of written captions.

    Returns:
        ``caption_len`` in tokens; ``distinct_1`` and ``distinct_2``, distinct
        word n-grams over all word n-grams;
        ``top_caption_share``; ``banned_rate``, the share of steps at which a
        special token was the favourite.
    """
    if not texts:
        return {}
    statistics = {
        'caption_len': captions.mask.sum(1).float().mean().item(),
        'distinct_1': distinct_ratio(texts, 1),
        'distinct_2': distinct_ratio(texts, 2),
        'top_caption_share': Counter(texts).most_common(1)[0][1] / len(texts),
    }
    if captions.num_banned is not None:
        steps = captions.mask.sum() + len(texts)  # the end of turn is a step too
        statistics['banned_rate'] = (captions.num_banned.sum() / steps).item()
    return statistics
