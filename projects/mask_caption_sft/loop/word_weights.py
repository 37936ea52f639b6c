"""What each word of a caption adds, and how soon the region is found, as words come in a random order."""

from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor

from ..structures import Captions
from .partial_captions import by_token, partial_iou
from .step import Step


@dataclass
class HeardWords:
    """What the segmenter found of N regions as their captions' words came.

    Attributes:
        mean_iou: ``[N]``: the IoU in view 2 after each word, averaged over a caption's words: the more of
            them tell the region apart, the sooner it is found. 0 for an empty caption.
        weights: ``[N, L]``: how strongly each token is taught.
    """

    mean_iou: Tensor
    weights: Tensor


@dataclass
class WordWeights:
    """Each word is taught by what it adds: by how much the IoU rises when it joins those that came before
    it in a random order. One that lowers it is unlearned.

    Whole captions differ in many words at once: "the orange star at the left" earns as much as a true
    one if the region is found by its place, whatever its colour. Averaged over orders, a word gets its
    Shapley value (Castro et al. 2009): of two words that tell the same each gets half, where neither would
    be missed if it alone were left out of the whole caption.

    Args:
        weight: Of a word that adds at least ``full_iou``; a caption that is better than its group by a
            standard deviation weighs 1 (``AdvantageWeights(normalize=True)``).
        full_iou: The IoU from which on a word counts in full; below, in proportion.
        max_steps: A longer caption's words come in so many portions, cut at random, whose words share
            what they add. A portion costs one mask by the segmenter.
    """

    weight: float = 2.0
    full_iou: float = 0.1
    max_steps: int = 8

    def __post_init__(self) -> None:
        if not self.full_iou > 0:
            raise ValueError(f'full_iou={self.full_iou} is an IoU from which on a word counts, above 0.')
        if self.max_steps < 1:
            raise ValueError(f'max_steps={self.max_steps} lets no word come. Give at least 1.')

    def __call__(self, step: Step, rows: Tensor, captions: Captions, iou: Tensor) -> HeardWords:
        """The captions, heard. Arguments as of :func:`partial_iou`."""
        coming = [
            _ComingWords.of(row, text.split(), self.max_steps)
            for row, text in zip(rows.tolist(), captions.texts)
        ]
        found = partial_iou(step, rows, captions, iou, chain.from_iterable(words.texts for words in coming))
        ious = [[found[text] for text in words.texts] for words in coming]
        added = [words.added(iou) for words, iou in zip(coming, ious)]
        values = torch.tensor(list(chain.from_iterable(added)))
        step.table.log('signal/helping_ratio', values > 0.02)
        step.table.log('signal/misleading_ratio', values < -0.02)
        means = [words.mean(iou) for words, iou in zip(coming, ious)]
        return HeardWords(
            mean_iou=torch.tensor(means, device=rows.device),
            weights=self.weight * (by_token(step, captions, added) / self.full_iou).clamp(-1, 1),
        )


@dataclass
class _ComingWords:
    """A caption whose words come in portions.

    Attributes:
        portions: Which words come together, from 0.
        texts: The region's number and what has come: nothing at first, in the end the whole caption.
    """

    portions: list[list[int]]
    texts: list[tuple[int, str]]

    @classmethod
    def of(cls, row: int, words: list[str], at_most: int) -> '_ComingWords':
        """In a random order, cut at random."""
        order = torch.randperm(len(words)).tolist()
        cuts = sorted((torch.randperm(max(len(words) - 1, 0))[: at_most - 1] + 1).tolist())
        bounds = [0, *cuts, len(words)] if words else [0]
        texts = [(row, ' '.join(words[i] for i in sorted(order[:stop]))) for stop in bounds]
        return cls([order[begin:stop] for begin, stop in pairwise(bounds)], texts)

    def added(self, iou: list[float]) -> list[float]:
        """By word, an equal share of what its portion adds to the IoU after those before it."""
        values = [0.0] * sum(map(len, self.portions))
        for portion, (before, after) in zip(self.portions, pairwise(iou)):
            for word in portion:
                values[word] = (after - before) / len(portion)
        return values

    def mean(self, iou: list[float]) -> float:
        """The IoU after each word's portion, averaged over words."""
        total = sum(after * len(portion) for portion, after in zip(self.portions, iou[1:]))
        return total / max(sum(map(len, self.portions)), 1)
