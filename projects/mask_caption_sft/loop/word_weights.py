"""What the words of a region's captions add, as they come in a random order, and what that makes of each."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import chain, pairwise
from statistics import fmean

import torch
from torch import Tensor

from ..ops.text import words as plain
from ..structures import Captions
from .partial_captions import by_token, partial_iou
from .step import Step

#: The number of a described region, and a text or a word about it.
_About = tuple[int, str]


@dataclass
class HeardWords:
    """What the segmenter found of N captions as their words came.

    Attributes:
        worth: ``[N]``: the sum over a caption's words, each counted once, of the IoU that it adds.
        weights: ``[N, L]``: how strongly each token is taught.
    """

    worth: Tensor
    weights: Tensor


@dataclass
class WordWeights:
    """Each word is taught by what it adds: by how much the IoU rises when it joins those that came before
    it in a random order. One that lowers it is unlearned.

    Whole captions differ in many words at once: "the orange star at the left" earns as much as a true
    one if the region is found by its place, whatever its colour. Averaged over orders, a word gets its
    Shapley value (Castro et al. 2009): of two words that tell the same each gets half, where neither would
    be missed if it alone were left out of the whole caption. The average here is over all captions of the
    region that say the word, each in an order of its own. Equal captions have one each, too: a region whose
    captions have come to be alike would otherwise be heard in one order only.

    What a word adds counts as far as it is new: times the share of the region's other captions that lack
    it. Otherwise a word that tells little, such as a size, would lose its place to the word after it, which
    tells more and would come next anyway.

    Args:
        weight: Of a word that adds at least ``full_iou`` and that no other caption of the region says; a
            caption that is better than its group by a standard deviation weighs 1
            (``AdvantageWeights(normalize=True)``).
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
        """All captions of the regions, of which equal parts are heard once.

        Args:
            step: The batch.
            rows: ``[N]`` long, the described region that each caption is about.
            captions: N captions.
            iou: ``[N]``, from the whole captions.
        """
        said = list(zip(rows.tolist(), captions.texts))
        coming = [_ComingWords.of(row, text.split(), self.max_steps) for row, text in said]
        found = partial_iou(step, rows, captions, iou, chain.from_iterable(words.texts for words in coming))
        adds = _mean_by_word(coming, found)
        values = torch.tensor(list(adds.values()))
        step.table.log('signal/helping_ratio', values > 0.02)
        step.table.log('signal/misleading_ratio', values < -0.02)
        captions_words = [[(row, plain(word)) for word in text.split()] for row, text in said]
        lack = _share_of_others_without(rows.tolist(), captions_words)
        new = [[adds[word] * lack[word] for word in words] for words in captions_words]
        # In the order of the caption: a set's would be another one in each process, and so would the sum.
        worth = [sum(adds[word] for word in dict.fromkeys(words)) for words in captions_words]
        return HeardWords(
            worth=torch.tensor(worth, device=rows.device),
            weights=self.weight * (by_token(step, captions, new) / self.full_iou).clamp(-1, 1),
        )


@dataclass
class _ComingWords:
    """A caption whose words come in portions.

    Attributes:
        portions: The words that come together.
        texts: The region's number and what has come: nothing at first, in the end the whole caption.
    """

    portions: list[list[str]]
    texts: list[_About]

    @classmethod
    def of(cls, row: int, words: list[str], at_most: int) -> '_ComingWords':
        """In a random order, cut at random."""
        order = torch.randperm(len(words)).tolist()
        cuts = sorted((torch.randperm(max(len(words) - 1, 0))[: at_most - 1] + 1).tolist())
        bounds = [0, *cuts, len(words)] if words else [0]
        texts = [(row, ' '.join(words[i] for i in sorted(order[:stop]))) for stop in bounds]
        return cls([[words[i] for i in order[begin:stop]] for begin, stop in pairwise(bounds)], texts)


def _mean_by_word(coming: list[_ComingWords], found: dict[_About, float]) -> dict[_About, float]:
    """By region and word, the mean of what it adds: an equal share of what its portion adds to the IoU."""
    added = defaultdict(list)
    for words in coming:
        for portion, (before, after) in zip(words.portions, pairwise(words.texts)):
            for word in portion:
                added[after[0], plain(word)].append((found[after] - found[before]) / len(portion))
    return {about: fmean(values) for about, values in added.items()}


def _share_of_others_without(rows: list[int], captions_words: list[list[_About]]) -> dict[_About, float]:
    """By region and word, among the region's captions but one that says it: the share that does not.
    1 where there is no other."""
    captions = Counter(rows)
    saying = Counter(chain.from_iterable(map(set, captions_words)))
    return {
        (row, word): (captions[row] - count) / (captions[row] - 1) if captions[row] > 1 else 1.0
        for (row, word), count in saying.items()
    }
