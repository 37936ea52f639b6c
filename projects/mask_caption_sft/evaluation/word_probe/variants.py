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
    any of its expressions. A wrong word is one with which the expression does not fit its own region;
    one with which it fits another region is preferred. A word that none can take the place of has no case.

    Args:
        regions: For each region of the image what people have called it.
        word_list: The words.
        rng: Chooses among wrong words that are equally good.
    """
    said = [{word for text in texts for word in words(text).split()} for texts in regions]
    for region, texts in enumerate(regions):
        for text in texts:
            for found in word_list.find(text):
                case = _case(found, region, said, word_list, rng)
                if case is not None:
                    yield case


def _case(
    found: FoundWord, region: int, said: list[set[str]], word_list: WordList, rng: np.random.Generator
) -> WordCase | None:
    fitted: dict[str, tuple[int, ...]] = {}
    for other in word_list.others(found.word):
        needed = set(words(found.replaced_by(other)).split())
        fitted[other] = tuple(number for number, known in enumerate(said) if needed <= known)
    wrong = {other: rivals for other, rivals in fitted.items() if region not in rivals}
    deciding = {other: rivals for other, rivals in wrong.items() if rivals}
    choices = list(deciding or wrong)
    if not choices:
        return None
    chosen = choices[rng.integers(len(choices))]
    return WordCase(
        found.kind, found.word, region, found.text, chosen, found.replaced_by(chosen), found.dropped(),
        wrong[chosen],
    )  # fmt: skip
