"""Numbers that show when the loop cheats; logged, never trained on."""

from collections import Counter

import torch
from torch import Tensor

from ..ops.controls import other_regions
from ..ops.mask import mask_iou
from ..ops.precision import without_gradient
from ..ops.text import distinct_ratio
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionViews, TextEmbeds
from .step import Step


@without_gradient()
def read_signals(step: Step) -> None:
    """Log the controls and statistics of one batch's greedy captions."""
    controls = caption_controls(step.segmenter, step.views1, step.views2, step.captions)
    for name, values in controls.items():
        step.table.log(f'signal/{name}', values)
    for name, value in caption_statistics(step.captions).items():
        step.table.log(f'signal/{name}', value)


def caption_controls(
    segmenter: Sa2VA, views1: RegionViews, views2: RegionViews, captions: Captions
) -> dict[str, Tensor]:
    """IoU from the written captions, and from texts that should not work.

    Args:
        segmenter: The model that reads the captions.
        views1, views2: R regions in both views, with their masks.
        captions: R written captions.

    Returns:
        ``[N]`` IoU by control: ``caption_iou`` (second view), ``same_view_iou``, ``shuffled_iou`` (the
        caption of another region, of the same image where it has one) and ``blank_iou``. With one
        region there is nothing to shuffle with.
    """
    texts = segmenter.embed_captions(captions.texts)
    others = other_regions(views2.image_index)
    cases = {
        'caption_iou': (views2, texts),
        'same_view_iou': (views1, texts),
        'blank_iou': (views2, segmenter.embed_captions([''] * len(views2))),
    }
    if (others >= 0).all():
        cases['shuffled_iou'] = (views2, texts[others])
    return {name: _iou(segmenter, views, texts) for name, (views, texts) in cases.items()}


def _iou(segmenter: Sa2VA, views: RegionViews, texts: TextEmbeds) -> Tensor:
    assert views.masks is not None
    return mask_iou(segmenter.segment(views, texts).mask_logits > 0, views.masks)


def caption_statistics(captions: Captions) -> dict[str, Tensor]:
    """Length, diversity and monotony of R written captions.

    Returns:
        ``[N]`` values by name: ``caption_len`` in tokens; ``distinct_1`` and ``distinct_2``, distinct
        word n-grams over all word n-grams; ``top_caption_share``; ``banned_rate``, the share
        of steps at which a special token was the favourite; ``cut_ratio``, captions without an end.
    """
    lengths = captions.in_caption.sum(1)
    steps = lengths.sum() + len(captions)  # the end of turn is a step too
    top = Counter(captions.texts).most_common(1)[0][1]
    batch = {
        'distinct_1': distinct_ratio(captions.texts, 1),
        'distinct_2': distinct_ratio(captions.texts, 2),
        'top_caption_share': top / len(captions),
        'banned_rate': captions.num_banned.sum().item() / steps.item(),
    }
    statistics = {name: torch.tensor([value]) for name, value in batch.items()}
    return statistics | {'caption_len': lengths, 'cut_ratio': ~captions.has_ended}
