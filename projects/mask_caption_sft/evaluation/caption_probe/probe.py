"""A model describes regions in both of their views, and another one, or itself, looks for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...datasets import collate_regions
from ...ops.controls import other_regions
from ...ops.mask import mask_iou
from ...ops.precision import without_gradient
from ...sa2va.sa2va import Sa2VA
from ...structures import RegionSample
from ..word_probe.probe import ImageProbe, ProbedWord, listener_in, probe_image
from ..word_probe.word_list import WordList
from .agreement import TextPair


@dataclass(frozen=True)
class DescribedRegion:
    """What a model, and people, have said of one region.

    Attributes:
        record: The number of its record in the dataset.
        row: Where it is in the record.
        sample_id: Names the record.
        image_ids: Names of view 1 and view 2.
        caption: What the model wrote in view 1.
        second_caption: What it wrote in view 2; None where both views are one image.
        expressions: What people have called it, if anything.
    """

    record: int
    row: int
    sample_id: str
    image_ids: tuple[str, str]
    caption: str
    second_caption: str | None
    expressions: tuple[str, ...]


@dataclass
class HeardCaptions:
    """What a listener finds of N regions in their second views.

    Attributes:
        probe: From their captions, whole and with each listed word replaced and dropped.
        words: N: the listed words of each caption.
        shuffled_ious: The IoU of each from another region's caption; none if it is the only one of all.
        blank_ious: The IoU of each from an empty text.
    """

    probe: ImageProbe = field(default_factory=ImageProbe)
    words: list[list[ProbedWord]] = field(default_factory=list)
    shuffled_ious: list[float] = field(default_factory=list)
    blank_ious: list[float] = field(default_factory=list)

    @property
    def ious(self) -> list[float]:
        """N: from the whole captions."""
        return self.probe.expression_ious

    def add(self, other: 'HeardCaptions') -> None:
        """Take in what was found in another image."""
        self.probe.add(other.probe)
        self.words += other.words
        self.shuffled_ious += other.shuffled_ious
        self.blank_ious += other.blank_ious


@without_gradient()
def describe_record(
    model: Sa2VA, record: int, sample: RegionSample, max_caption_len: int
) -> list[DescribedRegion]:
    """Greedy captions of the regions of a record, in both of its views.

    A region with several expressions is described once. One that is not visible in both views has nothing to
    be described, or to be found, and is left out.

    Args:
        model: In eval mode.
        record: The record's number in its dataset.
        sample: The record, with masks in full size.
        max_caption_len: In tokens.
    """
    regions = _different_regions(sample)
    rows = [rows[0] for rows in regions]
    captions = _describe(model, sample, rows, max_caption_len)
    second: list[str] | list[None] = [None] * len(rows)
    if sample.view2.image_id != sample.view1.image_id:
        turned = replace(sample, view1=sample.view2, view2=sample.view1)
        second = _describe(model, turned, rows, max_caption_len)
    return [
        DescribedRegion(
            record=record,
            row=same[0],
            sample_id=sample.sample_id,
            image_ids=(sample.view1.image_id, sample.view2.image_id),
            caption=caption,
            second_caption=second_caption,
            expressions=tuple(text for row in same if (text := sample.expressions[row]) is not None),
        )
        for same, caption, second_caption in zip(regions, captions, second)
    ]


def _different_regions(sample: RegionSample) -> list[list[int]]:
    """The rows of each region that is visible in both views."""
    rows: dict[bytes, list[int]] = {}
    for row, masks in enumerate(zip(sample.view1.masks, sample.view2.masks)):
        if all(mask.any() for mask in masks):
            key = b''.join(mask.cpu().numpy().tobytes() for mask in masks)
            rows.setdefault(key, []).append(row)
    return list(rows.values())


def _describe(model: Sa2VA, sample: RegionSample, rows: list[int], max_caption_len: int) -> list[str]:
    if not rows:
        return []
    batch = collate_regions([sample])['batch'][rows].to(model.device)
    views, _ = model.look(batch, segment_first=False)
    return model.describe(views, max_caption_len).texts


@without_gradient()
def hear_captions(
    model: Sa2VA,
    sample: RegionSample,
    regions: Sequence[DescribedRegion],
    others: Sequence[str],
    word_list: WordList,
    rng: np.random.Generator,
) -> HeardCaptions:
    """How well a model finds the described regions of a record in view 2.

    What fits a region is judged by its caption, so a wrong word *decides* where another caption of the image
    says it.

    Args:
        model: The listener, which need not be who wrote the captions; in eval mode.
        sample: The record, cut as the listener needs it.
        regions: At least one of it.
        others: For each the caption of another region, see :func:`others_of`; empty if there is none.
        word_list, rng: See :func:`probe_image`.
    """
    rows = [region.row for region in regions]
    batch = collate_regions([sample])['batch'][rows].to(model.device)
    listener, masks = listener_in(model, batch), torch.stack(batch.masks2)
    probe = probe_image(masks, [[region.caption] for region in regions], word_list, listener, rng)
    shuffled = torch.stack([*listener([*others, ''])])
    blank = shuffled[-1:].expand_as(masks)
    return HeardCaptions(
        probe=probe,
        words=[[word for word in probe.words if word.case.region == number] for number in range(len(rows))],
        shuffled_ious=mask_iou(shuffled[:-1], masks[: len(others)]).tolist(),
        blank_ious=mask_iou(blank, masks).tolist(),
    )


def others_of(regions: Sequence[DescribedRegion]) -> list[DescribedRegion]:
    """For each region another one, of the same image where it has one, as validation's control has it
    (:func:`other_regions`); empty where there is one region only."""
    if len(regions) < 2:
        return []
    rows: Tensor = other_regions(torch.tensor([region.record for region in regions]))
    return [regions[row] for row in rows.tolist()]


def view_pairs(regions: Sequence[DescribedRegion]) -> Iterator[TextPair]:
    """The captions of both views, for each region that has two."""
    two_views = [region for region in regions if region.second_caption is not None]
    others = others_of(two_views)
    for number, region in enumerate(two_views):
        other = others[number].second_caption if others else None
        yield TextPair(region.caption, region.second_caption or '', other)


def people_pairs(regions: Sequence[DescribedRegion]) -> Iterator[TextPair]:
    """The caption of each region with each expression of people's for it."""
    spoken = [region for region in regions if region.expressions]
    others = others_of(spoken)
    for number, region in enumerate(spoken):
        other = others[number].expressions[0] if others else None
        yield from (TextPair(region.caption, text, other) for text in region.expressions)
