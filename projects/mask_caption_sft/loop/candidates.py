"""Several captions of each region: how well it is found again from each, and which is the best."""

import torch
from torch import Tensor

from ..ops.mask import mask_iou
from ..ops.precision import without_gradient
from ..sa2va.prefix import Prefix
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionViews, TextEmbeds


def candidate_iou(
    segmenter: Sa2VA,
    views: RegionViews,
    texts: list[str],
    prefix: Prefix | None = None,
    at_once: int | None = None,
) -> Tensor:
    """``[K, R]``, the first half of :func:`candidate_overlaps`."""
    return candidate_overlaps(segmenter, views, texts, prefix, at_once)[0]


@without_gradient()
def candidate_overlaps(
    segmenter: Sa2VA,
    views: RegionViews,
    texts: list[str],
    prefix: Prefix | None = None,
    at_once: int | None = None,
) -> tuple[Tensor, Tensor]:
    """What the segmenter's mask from each caption overlaps, at the size of the mask logits, thresholded.

    The answer "Sure, [SEG]." is given to the segmenter, which costs one short pass and never checks what
    it would have written. Equal captions of a region are segmented once.

    Args:
        segmenter: Who reads the captions.
        views: R regions with their masks.
        texts: K * R captions: the first ones of all regions, then the second ones, and so on.
        prefix: What the segmenter has read of the images.
        at_once: How many captions run together, which bounds memory; None for all.

    Returns:
        IoU with the caption's own region, and the best IoU with another region of the same image, 0 where
        there is none; ``[K, R]`` each, in [0, 1].
    """
    cases = [(number % len(views), text) for number, text in enumerate(texts)]
    distinct = list(dict.fromkeys(cases))
    rows = torch.tensor([row for row, _ in distinct], device=views.image_index.device)
    embeds = segmenter.embed_captions([text for _, text in distinct])
    parts = torch.arange(len(distinct), device=rows.device).split(at_once or len(distinct))
    found = torch.cat([overlaps(segmenter, views, rows[part], embeds[part], prefix) for part in parts], 1)
    position = {case: number for number, case in enumerate(distinct)}
    own, other = found[:, [position[case] for case in cases]].view(2, -1, len(views))
    return own, other


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


def overlaps(
    segmenter: Sa2VA, views: RegionViews, rows: Tensor, texts: TextEmbeds, prefix: Prefix | None
) -> Tensor:
    """``[2, N]``: of N texts about the regions ``rows``, IoU with the own and with the best other region."""
    assert views.masks is not None
    with segmenter.without_recomputation():
        found = segmenter.segment(views[rows], texts, prefix).mask_logits > 0
    own = mask_iou(found, views.masks[rows])
    other = torch.zeros_like(own)
    for number, row in enumerate(rows.tolist()):
        rivals = views.image_index == views.image_index[row]
        rivals[row] = False
        if rivals.any():
            masks = views.masks[rivals]
            other[number] = mask_iou(found[number].expand_as(masks), masks).max()
    return torch.stack([own, other])
