"""Several captions of each region: how well it is found again from each, and which is the best."""

import torch
from torch import Tensor

from ..ops.mask import mask_iou
from ..ops.precision import without_gradient
from ..sa2va.prefix import Prefix
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionViews, TextEmbeds


@without_gradient()
def candidate_iou(
    segmenter: Sa2VA,
    views: RegionViews,
    texts: list[str],
    prefix: Prefix | None = None,
    at_once: int | None = None,
) -> Tensor:
    """IoU of the segmenter's mask from each caption, at the size of the mask logits, thresholded.

    The answer "Sure, [SEG]." is given to the segmenter, which costs one short pass and never checks what
    it would have written. Equal captions of a region are segmented once.

    Args:
        segmenter: Who reads the captions.
        views: R regions with their masks.
        texts: K * R captions: the first ones of all regions, then the second ones, and so on.
        prefix: What the segmenter has read of the images.
        at_once: How many captions run together, which bounds memory; None for all.

    Returns:
        ``[K, R]``, in [0, 1].
    """
    cases = [(number % len(views), text) for number, text in enumerate(texts)]
    distinct = list(dict.fromkeys(cases))
    rows = torch.tensor([row for row, _ in distinct], device=views.image_index.device)
    embeds = segmenter.embed_captions([text for _, text in distinct])
    parts = torch.arange(len(distinct), device=rows.device).split(at_once or len(distinct))
    found = torch.cat([_iou(segmenter, views[rows[part]], embeds[part], prefix) for part in parts])
    position = {case: number for number, case in enumerate(distinct)}
    return found[[position[case] for case in cases]].view(-1, len(views))


def best_candidates(iou: Tensor, captions: Captions) -> tuple[Tensor, Tensor]:
    """The best caption of each region: the first one of equals, and an empty one only where all are empty.

    Args:
        iou: ``[K, R]``.
        captions: K * R captions, in that order.

    Returns:
        Its IoU ``[R]``, -1 where all are empty, and its number ``[R]`` from 0 to K - 1.
    """
    best_iou, best = iou.masked_fill(captions.is_empty().view(iou.shape), -1.0).max(0)
    return best_iou, best


def _iou(segmenter: Sa2VA, views: RegionViews, texts: TextEmbeds, prefix: Prefix | None) -> Tensor:
    assert views.masks is not None
    with segmenter.without_recomputation():
        result = segmenter.segment(views, texts, prefix)
    return mask_iou(result.mask_logits > 0, views.masks)
