"""Several captions of each region: how well it is found again from each, and which is the best."""

import torch
from torch import Tensor

from ..ops.distinct import first_of_equals
from ..ops.mask import mask_iou
from ..ops.precision import without_gradient
from ..sa2va.prefix import Prefix
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionViews, TextEmbeds


@without_gradient()
def candidate_masks(
    segmenter: Sa2VA,
    views: RegionViews,
    texts: list[str],
    prefix: Prefix | None = None,
    at_once: int | None = None,
) -> Tensor:
    """The segmenter's mask from each caption, at the size of the mask logits, thresholded.

    The answer "Sure, [SEG]." is given to the segmenter, which costs one short pass and never checks what
    it would have written. Equal captions of a region are segmented once.

    Args:
        segmenter: Who reads the captions.
        views: R regions.
        texts: K * R captions: the first ones of all regions, then the second ones, and so on.
        prefix: What the segmenter has read of the images.
        at_once: How many captions run together, which bounds memory; None for all.

    Returns:
        ``[K, R, h, w]`` bool.
    """
    first, numbers = first_of_equals([(number % len(views), text) for number, text in enumerate(texts)])
    rows = torch.tensor(first, device=views.image_index.device) % len(views)
    embeds = segmenter.embed_captions([texts[number] for number in first])
    parts = torch.arange(len(first), device=rows.device).split(at_once or len(first))
    found = torch.cat([masks_from(segmenter, views[rows[part]], embeds[part], prefix) for part in parts])
    return found[numbers].unflatten(0, (-1, len(views)))


@without_gradient()
def masks_from(
    segmenter: Sa2VA, views: RegionViews, texts: TextEmbeds, prefix: Prefix | None = None
) -> Tensor:
    """``[N, h, w]`` bool, from N texts about N regions, in one pass that keeps nothing for a gradient."""
    with segmenter.without_recomputation():
        return segmenter.segment(views, texts, prefix).mask_logits > 0


def iou_with_own(masks: Tensor, views: RegionViews) -> Tensor:
    """IoU ``[K, R]`` of masks ``[K, R, h, w]`` with the regions that they are to find."""
    assert views.masks is not None
    return torch.stack([mask_iou(found, views.masks) for found in masks])


def iou_with_others(masks: Tensor, views: RegionViews) -> Tensor:
    """The best IoU ``[K, R]`` of masks ``[K, R, h, w]`` with another region of the image; 0 without one."""
    assert views.masks is not None
    found = masks.flatten(0, 1)
    with_each = [mask_iou(found, region.expand_as(found)) for region in views.masks]
    iou = torch.stack(with_each, -1).view(*masks.shape[:2], len(views))
    is_rival = views.image_index[:, None] == views.image_index
    is_rival = is_rival & ~torch.eye(len(views), dtype=torch.bool, device=is_rival.device)
    return iou.masked_fill(~is_rival, 0.0).amax(-1)


def best_candidates(rewards: Tensor, captions: Captions) -> tuple[Tensor, Tensor]:
    """The best caption of each region: the first one of equals, and an empty one only where all are empty.

    Args:
        rewards: ``[K, R]``, the IoU or another measure.
        captions: K * R captions, in that order.

    Returns:
        Its reward ``[R]``, -inf where all are empty, and its number ``[R]`` from 0 to K - 1.
    """
    best, number = rewards.masked_fill(captions.is_empty().view(rewards.shape), -torch.inf).max(0)
    return best, number
