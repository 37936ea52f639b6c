"""Which words of a caption its region is found by, and which lead away from it."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.mask import mask_iou
from ..structures import Captions
from .candidates import masks_from
from .step import Step


@dataclass
class WordCredit:
    """A word is worth teaching if the segmenter finds the region worse without it.

    A mask says of a whole caption that it is good, not of which words: those that happen to stand beside
    the right ones would be taught as well, true or not.

    Args:
        min_drop: By how much the IoU in view 2 has to fall.
    """

    min_drop: float = 0.02

    def __call__(self, step: Step, rows: Tensor, captions: Captions, iou: Tensor) -> Tensor:
        """``[N, L]`` bool: the tokens of the words that help, and the end of turn.

        Args:
            step: The batch.
            rows: ``[N]`` long, the described region that each caption is about.
            captions: N captions.
            iou: ``[N]``, from the whole captions.
        """
        added = _added_iou(step, rows, captions, iou)
        helps = _of_tokens(step, captions, added) >= self.min_drop
        return captions.mask & (helps | ~captions.in_caption)


@dataclass
class WordWeights:
    """Each word is taught by what it adds: by how much the IoU rises when it joins other words of its
    caption. One that lowers it is unlearned.

    Whole captions differ in many words at once: "the orange star at the left" earns as much as a true
    one if the region is found by its place, whatever its colour. Here all else is equal.

    Args:
        weight: Of a word that adds at least ``full_iou``; a caption that is better than its group by a
            standard deviation weighs 1 (``AdvantageWeights(normalize=True)``).
        full_iou: The IoU from which on a word counts in full; below, in proportion.
        joins: ``'all'``: it joins all the others, so that of two words that tell the same neither adds
            anything, as in counterfactual policy gradients (Foerster et al. 2018). ``'some'``: it joins
            those that come before it in a random order, so that both do, on average by their Shapley
            values (Castro et al. 2009).
        num_words: So many words of each caption are tried, drawn at random; the others weigh nothing in
            this step. None tries each. A word costs one mask by the segmenter, and one more where it joins
            some and not all words are tried.
    """

    weight: float = 2.0
    full_iou: float = 0.03
    joins: str = 'all'
    num_words: int | None = None

    def __post_init__(self) -> None:
        if not self.full_iou > 0:
            raise ValueError(f'full_iou={self.full_iou} is an IoU from which on a word counts, above 0.')
        if self.joins not in ('all', 'some'):
            raise ValueError(f"joins={self.joins!r} is neither 'all' nor 'some' of a caption's words.")
        if self.num_words is not None and self.num_words < 1:
            raise ValueError(f'num_words={self.num_words} tries no word. Give at least 1, or None.')

    def __call__(self, step: Step, rows: Tensor, captions: Captions, iou: Tensor) -> Tensor:
        """``[N, L]``, from -weight to weight; 0 for the end of turn. Arguments as of :class:`WordCredit`."""
        added = _added_iou(step, rows, captions, iou, self.joins == 'all', self.num_words)
        values = torch.tensor(list(added.values()))
        step.table.log('signal/helping_ratio', values > 0.02)
        step.table.log('signal/misleading_ratio', values < -0.02)
        return self.weight * (_of_tokens(step, captions, added) / self.full_iou).clamp(-1, 1)


def _added_iou(
    step: Step,
    rows: Tensor,
    captions: Captions,
    iou: Tensor,
    joins_all: bool = True,
    num_words: int | None = None,
) -> dict[tuple[int, int], float]:
    """By caption and word, both from 0: by how much the IoU in view 2 rises when the word joins others."""
    row_of: list[int] = rows.tolist()
    known: dict[tuple[int, str], float] = {}
    added = []
    for n, (text, found) in enumerate(zip(captions.texts, iou.tolist())):
        words = text.split()
        known[row_of[n], ' '.join(words)] = found
        for word, others in _joined(len(words), joins_all, num_words):
            joined, alone = (' '.join(words[i] for i in sorted(some)) for some in ([*others, word], others))
            added.append(((n, word), (row_of[n], joined), (row_of[n], alone)))
    texts = [text for _, joined, alone in added for text in (joined, alone)]
    asked = [text for text in dict.fromkeys(texts) if text not in known]
    known.update(zip(asked, _iou(step, asked, at_once=len(rows))))
    return {case: known[joined] - known[alone] for case, joined, alone in added}


def _joined(count: int, joins_all: bool, at_most: int | None) -> Iterator[tuple[int, list[int]]]:
    """Of so many words those that are tried, each with the words that it joins."""
    order = torch.randperm(count).tolist()
    for place in torch.randperm(count)[:at_most].tolist():
        yield order[place], order[:place] + (order[place + 1 :] if joins_all else [])


def _iou(step: Step, texts: list[tuple[int, str]], at_once: int) -> list[float]:
    """Of the masks from texts about regions; for memory, as many at once as there are captions."""
    found: list[float] = []
    for begin in range(0, len(texts), at_once):
        part = texts[begin : begin + at_once]
        views = step.views2[torch.tensor([row for row, _ in part], device=step.views2.image_index.device)]
        assert views.masks is not None
        embeds = step.segmenter.embed_captions([text for _, text in part])
        masks = masks_from(step.segmenter, views, embeds, step.segmenter_prefix)
        found += mask_iou(masks, views.masks).tolist()
    return found


def _of_tokens(step: Step, captions: Captions, of_words: dict[tuple[int, int], float]) -> Tensor:
    """``[N, L]``: the value of each token's word, 0 where it has none."""
    values = torch.zeros(captions.ids.shape)
    for n, (ids, inside) in enumerate(zip(captions.ids.cpu(), captions.in_caption.cpu())):
        for token, word in enumerate(step.student.text.word_of_tokens(ids[inside].tolist())):
            values[n, token] = of_words.get((n, word), 0.0)
    return values.to(captions.ids.device)
