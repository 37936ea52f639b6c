"""What an expression becomes when one of its words is wrong, or missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...ops.text import words
from .word_list import FoundWord, WordList


@dataclass(frozen=True)
class WordCase:
    """One word of one expression.

    Attributes:
        kind, word: Which word.
        region: The number of the region that the expression names, in its image.
        expression: As it was written.
        wrong_word: A word of the same kind that takes its place.
        replaced, dropped: The expression with the wrong word, and without any.
        rivals: Numbers of the other regions that ``replaced`` fits. Where there are any, the word *decides*
            which region is meant.
    """

    kind: str
    word: str
    region: int
    expression: str
    wrong_word: str
    replaced: str
    dropped: str
    rivals: tuple[int, ...]


def word_cases(
    regions: Sequence[Sequence[str]], word_list: WordList, rng: np.random.Generator
) -> Iterator[WordCase]:
    """A case for each listed word in each expression of an image's regions.

    What fits a region is judged by words: a text fits if people have used all its words for that region, in
    any of its expressions. A wrong word is one with which the expression does not fit its own region; one
    with which it fits another region is preferred, if people have used it for that one as a whole: who has
    said "top left" has not said "left". A word that none can take the place of has no case.

    Args:
        regions: For each region of the image what people have called it.
        word_list: The words.
        rng: Chooses among wrong words that are equally good.
    """
    cases = _Cases(regions, word_list, rng)
    for region, texts in enumerate(regions):
        for text in texts:
            for found in word_list.find(text):
                case = cases.of(found, region)
                if case is not None:
                    yield case


class _Cases:
    """What people have said of each region, and the cases that follow from it."""

    def __init__(
        self, regions: Sequence[Sequence[str]], word_list: WordList, rng: np.random.Generator
    ) -> None:
        self.word_list, self.rng = word_list, rng
        self.words = [{word for text in texts for word in words(text).split()} for texts in regions]
        self.phrases = [{found.word for t in texts for found in word_list.find(t)} for texts in regions]

    def of(self, found: FoundWord, region: int) -> WordCase | None:
        """The case of one word; None where none can take its place."""
        wrong: dict[str, tuple[int, ...]] = {}
        for other in self.word_list.others(found.word):
            fitting = self._fitted_by(found.replaced_by(other))
            if region not in fitting:
                wrong[other] = tuple(number for number in fitting if other in self.phrases[number])
        choices = [other for other, rivals in wrong.items() if rivals] or list(wrong)
        if not choices:
            return None
        chosen = choices[self.rng.integers(len(choices))]
        return WordCase(
            found.kind, found.word, region, found.text, chosen, found.replaced_by(chosen), found.dropped(),
            wrong[chosen],
        )  # fmt: skip

    def _fitted_by(self, text: str) -> list[int]:
        needed = set(words(text).split())
        return [number for number, known in enumerate(self.words) if needed <= known]
