"""Captions and masks of a batch with their controls, for validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.controls import other_regions
from ..ops.precision import without_gradient
from ..ops.seeding import torch_seed
from ..sa2va.answer import segment_as_written
from ..sa2va.generation import Sampling
from ..sa2va.prefix import Prefix
from ..sa2va.sa2va import Sa2VA
from ..structures import Captions, RegionBatch, RegionPrediction, RegionViews, TextEmbeds
from .rerank import describe_best

#: An image of RefCOCO may have thirty expressions; so many run at once, which bounds memory.
REGIONS_AT_ONCE = 16


@dataclass
class _Question:
    """One text for each of some regions, and the image in which its mask is looked for.

    Attributes:
        name: Key of the masks that answer it, see :class:`RegionPrediction`.
        rows: ``[N]`` long, the regions in the batch.
        views: The N regions.
        texts: N texts.
        targets: The ground truth of each, whose size the answer has.
    """

    name: str
    rows: Tensor
    views: RegionViews
    texts: TextEmbeds
    targets: list[Tensor]


@without_gradient()
def predict_regions(
    model: Sa2VA,
    batch: RegionBatch,
    max_caption_len: int,
    answers: str = 'written',
    num_captions: int = 1,
    sampling: Sampling | None = None,
) -> list[RegionPrediction]:
    """One :class:`RegionPrediction` per region.

    Every region is described and found again from its caption. A region with a human
    expression is also segmented from that; one without, from the controls.

    Args:
        model: In eval mode.
        batch: A validation batch.
        max_caption_len: In tokens.
        answers: ``'written'``: a mask is that of the first ``[SEG]`` in what the model writes,
            see :func:`segment_as_written`, and empty if there is none. ``'given'``: the model
            is given "Sure, [SEG]." and what it would have written is not looked at.
        num_captions: Captions written per region, of which the best one in view 1 is kept, see
            :func:`describe_best`. They depend on the model and the batch alone: torch's random numbers
            are seeded by the names of its records, and afterwards go on as before.
        sampling: How all but the greedy ones are sampled.
    """
    if len(batch) == 0:
        return []
    views1, views2 = model.look(batch)
    prefix = model.read(views1.features)
    with torch_seed(views1.image_index.device, *batch.sample_ids):
        captions = _describe(model, views1, max_caption_len, num_captions, sampling, prefix)
    predictions = _with_ground_truth(batch, captions.texts, answers, num_captions)
    questions = [
        *_questions_about_captions(model, batch, views1, views2, captions.texts),
        *_questions_about_expressions(model, batch, views2),
    ]
    for question in questions:
        masks = _find_masks(model, question, answers, prefix)
        for row, mask, target in zip(question.rows.tolist(), masks, question.targets):
            predictions[row].masks[question.name] = torch.zeros_like(target) if mask is None else mask
            if mask is None:
                predictions[row].without_seg.add(question.name)
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


def _with_ground_truth(
    batch: RegionBatch, texts: list[str], answers: str, best_of: int
) -> list[RegionPrediction]:
    predictions = []
    image2 = batch.image_index2.tolist()
    for row, text in enumerate(texts):
        same_image = [i for i in range(len(batch)) if image2[i] == image2[row]]
        images = (batch.image_ids[int(batch.image_index1[row])], batch.image_ids[image2[row]])
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
                answers=answers,
                best_of=best_of,
            )
        )
    return predictions


def _questions_about_captions(
    model: Sa2VA, batch: RegionBatch, views1: RegionViews, views2: RegionViews, captions: list[str]
) -> Iterator[_Question]:
    """The caption in the other view for all regions; its controls for those without a human text."""
    texts = model.embed_captions(captions)
    everyone = torch.arange(len(batch), device=batch.image_index1.device)
    yield _Question('caption', everyone, views2, texts, batch.masks2)
    controlled = everyone[[expression is None for expression in batch.expressions]]
    masks2 = _take(batch.masks2, controlled)
    masks1 = _take(batch.masks1, controlled)
    yield _Question('caption_same_view', controlled, views1[controlled], texts[controlled], masks1)
    blank = model.embed_captions([''] * len(controlled))
    yield _Question('caption_blank', controlled, views2[controlled], blank, masks2)
    others = other_regions(batch.image_index1[controlled])
    if (others >= 0).all():
        yield _Question('caption_shuffled', controlled, views2[controlled], texts[controlled[others]], masks2)


def _questions_about_expressions(
    model: Sa2VA, batch: RegionBatch, views2: RegionViews
) -> Iterator[_Question]:
    spoken = [(row, text) for row, text in enumerate(batch.expressions) if text is not None]
    if spoken:
        rows = torch.tensor([row for row, _ in spoken], device=batch.image_index1.device)
        texts = model.embed_expressions([text for _, text in spoken])
        yield _Question('expression', rows, views2[rows], texts, _take(batch.masks2, rows))


def _take(masks: list[Tensor], rows: Tensor) -> list[Tensor]:
    return [masks[row] for row in rows.tolist()]


def _describe(
    model: Sa2VA,
    views: RegionViews,
    max_caption_len: int,
    num_captions: int,
    sampling: Sampling | None,
    prefix: Prefix,
) -> Captions:
    rows = torch.arange(len(views), device=views.image_index.device)
    parts = [
        describe_best(model, views[some], max_caption_len, num_captions, sampling, prefix, REGIONS_AT_ONCE)
        for some in rows.split(REGIONS_AT_ONCE)
    ]
    return reduce(Captions.cat, parts)


def _find_masks(model: Sa2VA, question: _Question, answers: str, prefix: Prefix) -> Iterator[Tensor | None]:
    """The mask of each text, at its target's size; None where the model wrote no ``[SEG]``."""
    targets = iter(question.targets)
    for some in torch.arange(len(question.rows), device=question.rows.device).split(REGIONS_AT_ONCE):
        if len(some):
            logits, has_seg = _segment(model, question.views[some], question.texts[some], answers, prefix)
            for row, target in zip(range(len(some)), targets):
                mask = upsample_mask(logits[row], model.grounding_size, target.shape[-2:])
                yield mask if has_seg[row] else None


def _segment(
    model: Sa2VA, views: RegionViews, texts: TextEmbeds, answers: str, prefix: Prefix
) -> tuple[Tensor, list[bool]]:
    """Mask logits ``[R, h, w]``, and for which of the texts there is a ``[SEG]``."""
    if answers == 'given':
        return model.segment(views, texts, prefix).mask_logits, [True] * len(texts)
    found = segment_as_written(model, views, texts, prefix=prefix)
    return found.mask_logits, found.has_seg.tolist()
