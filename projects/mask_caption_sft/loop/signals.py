"""Numbers that show when the loop cheats; logged, never trained on."""

from collections import Counter

import torch
from torch import Tensor

from ..ops.controls import other_regions
from ..ops.mask import mask_iou
from ..ops.precision import without_gradient
from ..ops.text import distinct_ratio
from ..sa2va.prefix import Prefix
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionViews, Segmentation
from .objectives.teacher_iou import token_twins
from .step import Step


@without_gradient()
def read_signals(step: Step) -> None:
    """Log the controls and statistics of one batch's greedy captions."""
    with step.segmenter.without_recomputation():
        controls = caption_controls(
            step.segmenter, step.views1, step.views2, step.captions, step.segmenter_prefix
        )
    for name, values in controls.items():
        step.table.log(f'signal/{name}', values)
    step.table.log_by_dataset('caption_iou', controls['caption_iou'], step.datasets)
    step.table.log('signal/twins_differ_ratio', twins_differ(step))
    for name, value in caption_statistics(step.captions).items():
        step.table.log(f'signal/{name}', value)


def caption_controls(
    segmenter: Sa2VA,
    views1: RegionViews,
    views2: RegionViews,
    captions: Captions,
    prefix: Prefix | None = None,
) -> dict[str, Tensor]:
    """IoU from the written captions, and from texts that should not work.

    Args:
        segmenter: The model that reads the captions.
        views1, views2: R regions in both views, with their masks.
        captions: R written captions.
        prefix: What the segmenter has read of the images.

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
    questions = segmenter.ask(views2.features, prefix)
    asked = {name: (views, questions.segment(views, texts)) for name, (views, texts) in cases.items()}
    return {name: _iou(masks(), views) for name, (views, masks) in asked.items()}


def _iou(result: Segmentation, views: RegionViews) -> Tensor:
    assert views.masks is not None
    return mask_iou(result.mask_logits > 0, views.masks)


def twins_differ(step: Step) -> Tensor:
    """``[W]``: 1 where the tokens that a bridge stands for are not those of the caption's text."""
    captions = step.captions
    read = token_twins(step, captions.ids.shape[1]).read(captions.ids)
    mapped = [row[keep].tolist() for row, keep in zip(read, captions.in_caption)]
    written = step.segmenter.text.encode_captions(captions.texts)
    return torch.tensor([float(a != b) for a, b in zip(mapped, written)])


def caption_statistics(captions: Captions) -> dict[str, Tensor]:
    """Length, diversity and monotony of R written captions.

    Returns:
        ``[N]`` values by name: ``caption_len`` in tokens; ``distinct_1`` and ``distinct_2``, distinct
        word n-grams over all word n-grams; ``top_caption_share``, where there are two captions or more;
        ``banned_rate``, the share of steps at which a special token was the favourite; ``cut_ratio``,
        captions without an end.
    """
    lengths = captions.in_caption.sum(1)
    steps = lengths.sum() + len(captions)  # the end of turn is a step too
    top = Counter(captions.texts).most_common(1)[0][1]
    batch = {
        'distinct_1': distinct_ratio(captions.texts, 1),
        'distinct_2': distinct_ratio(captions.texts, 2),
        'banned_rate': captions.num_banned.sum().item() / steps.item(),
    }
    if len(captions) > 1:  # of one caption it is always 1
        batch['top_caption_share'] = top / len(captions)
    statistics = {name: torch.tensor([value]) for name, value in batch.items()}
    return statistics | {'caption_len': lengths, 'cut_ratio': ~captions.has_ended}
