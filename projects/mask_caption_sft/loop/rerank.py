"""Better captions without training: of several, the one from which the writer finds the region best."""

import torch

from ..ops.precision import without_gradient
from ..sa2va.generation import Sampling
from ..sa2va.prefix import Prefix
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionViews
from .candidates import best_candidates, candidate_masks, iou_with_own


@without_gradient()
def describe_best(
    model: Sa2VA,
    views: RegionViews,
    max_caption_len: int,
    num_captions: int = 1,
    sampling: Sampling | None = None,
    prefix: Prefix | None = None,
    at_once: int | None = None,
) -> Captions:
    """One caption of each of R regions: the best of ``num_captions``.

    The best is that from which the model's own mask, in the view that was described, overlaps the
    described mask most. Both are there when a region is described, so no other view and no ground truth is
    looked at. The greedy caption wins against equals.

    Args:
        model: Writes and segments; in eval mode.
        views: The regions with their visual prompts and masks.
        max_caption_len: In tokens.
        num_captions: K: one is greedy, the others are sampled. With 1 nothing is segmented.
        sampling: How, with torch's global random numbers.
        prefix: What the model has read of the images.
        at_once: How many captions are segmented together, see :func:`candidate_masks`.
    """
    prefix = prefix or model.read(views.features)
    captions = model.describe(views, max_caption_len, num_captions, sampling, prefix)
    if num_captions == 1:
        return captions
    masks = candidate_masks(model, views, captions.texts, prefix, at_once)
    _, best = best_candidates(iou_with_own(masks, views), captions)
    return captions[best * len(views) + torch.arange(len(views), device=best.device)]
