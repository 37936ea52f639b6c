"""Which words of a caption its region is found by, and which lead away from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.distinct import first_of_equals
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
        lost = _iou_lost(step, rows, captions, iou)
        helps = _of_tokens(step, captions, lost) >= self.min_drop
        return captions.mask & (helps | ~captions.in_caption)


@dataclass
class WordWeights:
    """Each word is taught by what it adds to its caption: by the IoU that is lost without it. One without
    which the region is found better is unlearned.

    The caption without the word is the baseline, as in counterfactual policy gradients (Foerster et al.
    2018), and all else is equal. Whole captions differ in many words at once: "the orange star at the left"
    earns as much as another one if the region is found by its place, whatever its colour.

    Args:
        weight: Of a word without which at least ``full_iou`` is lost; a caption that is better than its
            group by a standard deviation weighs 1 (``AdvantageWeights(normalize=True)``).
        full_iou: The IoU from which on a word counts in full; below, in proportion.
        num_words: So many words of each caption are left out, one at a time, drawn at random; the others
            weigh nothing in this step. None leaves out each. Every one costs a mask by the segmenter.
    """

    weight: float = 2.0
    full_iou: float = 0.03
    num_words: int | None = None

    def __post_init__(self) -> None:
        if not self.full_iou > 0:
            raise ValueError(f'full_iou={self.full_iou} is an IoU from which on a word counts, above 0.')
        if self.num_words is not None and self.num_words < 1:
            raise ValueError(f'num_words={self.num_words} leaves out no word. Give at least 1, or None.')

    def __call__(self, step: Step, rows: Tensor, captions: Captions, iou: Tensor) -> Tensor:
        """``[N, L]``, from -weight to weight; 0 for the end of turn. Arguments as of :class:`WordCredit`."""
        lost = _iou_lost(step, rows, captions, iou, self.num_words)
        values = torch.tensor(list(lost.values()))
        step.table.log('signal/helping_ratio', values > 0.02)
        step.table.log('signal/misleading_ratio', values < -0.02)
        return self.weight * (_of_tokens(step, captions, lost) / self.full_iou).clamp(-1, 1)


def _iou_lost(
    step: Step, rows: Tensor, captions: Captions, iou: Tensor, num_words: int | None = None
) -> dict[tuple[int, int], float]:
    """By caption and word, both from 0: by how much the IoU in view 2 falls without the word."""
    words = [text.split() for text in captions.texts]
    cases = [(n, i) for n, said in enumerate(words) for i in _some(len(said), num_words)]
    if not cases:
        return {}
    texts = [' '.join(words[n][:i] + words[n][i + 1 :]) for n, i in cases]
    about = torch.tensor([n for n, _ in cases], device=rows.device)
    first, numbers = first_of_equals(list(zip(rows[about].tolist(), texts)))
    found = _iou(step, rows[about[first]], [texts[case] for case in first], at_once=len(rows))
    return dict(zip(cases, (iou[about] - found[numbers]).tolist()))


def _some(count: int, at_most: int | None) -> list[int]:
    if at_most is None or at_most >= count:
        return list(range(count))
    return torch.randperm(count)[:at_most].tolist()


def _iou(step: Step, rows: Tensor, texts: list[str], at_once: int) -> Tensor:
    """``[N]``, of the segmenter's masks from N texts; so many at once as there are captions, for memory."""
    parts = []
    for begin in range(0, len(texts), at_once):
        views = step.views2[rows[begin : begin + at_once]]
        assert views.masks is not None
        embeds = step.segmenter.embed_captions(texts[begin : begin + at_once])
        parts.append(mask_iou(masks_from(step.segmenter, views, embeds, step.segmenter_prefix), views.masks))
    return torch.cat(parts)


def _of_tokens(step: Step, captions: Captions, of_words: dict[tuple[int, int], float]) -> Tensor:
    """``[N, L]``: the value of each token's word, 0 where it has none."""
    values = torch.zeros(captions.ids.shape)
    for n, (ids, inside) in enumerate(zip(captions.ids.cpu(), captions.in_caption.cpu())):
        for token, word in enumerate(step.student.text.word_of_tokens(ids[inside].tolist())):
            values[n, token] = of_words.get((n, word), 0.0)
    return values.to(captions.ids.device)
