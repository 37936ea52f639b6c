"""How well a segmenter finds the regions of an image from expressions, with right and wrong words."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...loop.predict import REGIONS_AT_ONCE, upsample_mask
from ...ops.mask import mask_iou
from ...ops.precision import without_gradient
from ...sa2va.prefix import Prefix
from ...sa2va.sa2va import Sa2VA
from ...structures import RegionBatch, RegionViews
from .variants import WordCase, word_cases
from .word_list import WordList

#: From T texts to T bool masks ``[H, W]`` in one image.
Listener = Callable[[list[str]], Iterable[Tensor]]


@dataclass(frozen=True)
class ProbedWord:
    """What one word is worth, in IoU with the region that its expression names.

    Attributes:
        case: The word.
        iou_true: From the expression as it was written.
        iou_replaced, iou_dropped: With the wrong word, and without the word.
        iou_blank: From an empty text.
        rival_before, rival_after: IoU with the rival region that the wrong word leads to most, from the
            expression as it was written and with the wrong word; None where there is no rival.
    """

    case: WordCase
    iou_true: float
    iou_replaced: float
    iou_dropped: float
    iou_blank: float
    rival_before: float | None
    rival_after: float | None


@dataclass
class ImageProbe:
    """What was found in one image, or in several together.

    Attributes:
        words: One for each word with a case.
        expression_ious: The IoU of each expression as it was written, those without a listed word too.
        num_unreplaced: Listed words for which there was no wrong one.
    """

    words: list[ProbedWord] = field(default_factory=list)
    expression_ious: list[float] = field(default_factory=list)
    num_unreplaced: int = 0

    def add(self, other: 'ImageProbe') -> None:
        """Take in what was found in another image."""
        self.words += other.words
        self.expression_ious += other.expression_ious
        self.num_unreplaced += other.num_unreplaced


def probe_image(
    masks: Tensor,
    regions: Sequence[Sequence[str]],
    word_list: WordList,
    listener: Listener,
    rng: np.random.Generator,
) -> ImageProbe:
    """Ask for each expression of an image as it is, with each listed word replaced, and with it dropped.

    Args:
        masks: ``[R, H, W]`` bool, the regions.
        regions: For each what people have called it.
        word_list: The words.
        listener: Is asked once, for all different texts together.
        rng: See :func:`word_cases`.
    """
    cases = list(word_cases(regions, word_list, rng))
    written = [(region, text) for region, texts in enumerate(regions) for text in texts]
    texts = [
        '',
        *(text for _, text in written),
        *(t for case in cases for t in (case.replaced, case.dropped)),
    ]
    different = list(dict.fromkeys(texts))
    ious = {text: _ious(mask, masks) for text, mask in zip(different, listener(different), strict=True)}
    num_found = sum(len(list(word_list.find(text))) for _, text in written)
    return ImageProbe(
        [_probed(case, ious) for case in cases],
        [ious[text][region] for region, text in written],
        num_found - len(cases),
    )


def _ious(mask: Tensor, masks: Tensor) -> list[float]:
    return mask_iou(mask.expand_as(masks), masks).tolist()


def _probed(case: WordCase, ious: dict[str, list[float]]) -> ProbedWord:
    """Looks up a case; ``ious`` holds the IoU of each text's mask with each region."""
    texts = (case.expression, case.replaced, case.dropped, '')
    rival = max(case.rivals, key=lambda number: ious[case.replaced][number], default=None)
    return ProbedWord(
        case,
        *(ious[text][case.region] for text in texts),
        rival_before=None if rival is None else ious[case.expression][rival],
        rival_after=None if rival is None else ious[case.replaced][rival],
    )


@without_gradient()
def probe_batch(
    model: Sa2VA, batch: RegionBatch, word_list: WordList, rng: np.random.Generator
) -> ImageProbe:
    """:func:`probe_image` of the second view of one sample, with a model as the listener.

    The image is encoded and read once. The masks are those after the given answer "Sure, [SEG].".

    Args:
        model: In eval mode.
        batch: One sample with its masks in full size. Regions whose mask is empty have nothing to lose and
            are left out, as are those without an expression.
        word_list, rng: See :func:`probe_image`.
    """
    masks, regions = _named_regions(batch)
    if not regions:
        return ImageProbe()
    return probe_image(masks, regions, word_list, listener_in(model, batch), rng)


def listener_in(model: Sa2VA, batch: RegionBatch) -> Listener:
    """A model as the listener in the second view of one sample, which it sees and reads here.

    Its masks have the size of that view's. They are those after the given answer "Sure, [SEG].".
    """
    _, views = model.look(batch, segment_first=False)
    prefix, size = model.read(views.features), batch.masks2[0].shape[-2:]
    return lambda texts: _find_masks(model, views, prefix, texts, size)


def _named_regions(batch: RegionBatch) -> tuple[Tensor, list[list[str]]]:
    """The different masks ``[R, H, W]`` of a sample, and all expressions of each."""
    named: dict[bytes, tuple[Tensor, list[str]]] = {}
    for mask, text in zip(batch.masks2, batch.expressions):
        if text is not None and mask.any():
            named.setdefault(mask.cpu().numpy().tobytes(), (mask, []))[1].append(text)
    masks = [mask for mask, _ in named.values()]
    return torch.stack(masks) if masks else torch.zeros(0, 1, 1), [texts for _, texts in named.values()]


def _find_masks(
    model: Sa2VA, views: RegionViews, prefix: Prefix, texts: list[str], size: Sequence[int]
) -> Iterator[Tensor]:
    """The mask of each text in the one image of some views, ``[H, W]`` of this size."""
    # As expressions have them, and an empty text as the blank control of validation has it: no token.
    embeds = model.embed_captions(texts)
    for rows in torch.arange(len(texts), device=model.device).split(REGIONS_AT_ONCE):
        logits = model.segment(views[torch.zeros_like(rows)], embeds[rows], prefix).mask_logits
        yield from (upsample_mask(row, model.grounding_size, size) for row in logits)
