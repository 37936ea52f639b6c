"""How far two texts about the same region say the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...ops.text import words
from ..word_probe.report import mean
from ..word_probe.word_list import WordList


@dataclass(frozen=True)
class TextPair:
    """Two texts about one region.

    Attributes:
        first, second: The texts.
        other: What the writer of the second says of another region, of the same image where it has one, as a
            control; None where there is no other.
    """

    first: str
    second: str
    other: str | None


@dataclass(frozen=True)
class Agreement:
    """Of N pairs of texts.

    Attributes:
        num_pairs: N.
        shared: Mean of :func:`shared_words`, None over no pair.
        shared_with_other: The same with the control, None over none.
        equal: The share of pairs that use the same words.
        by_kind: Kind of words -> the number of pairs in which both texts say a word of it, and the share of
            these in which they say the same, None over no pair.
    """

    num_pairs: int
    shared: float | None
    shared_with_other: float | None
    equal: float | None
    by_kind: dict[str, tuple[int, float | None]]

    @classmethod
    def of(cls, pairs: Sequence[TextPair], word_list: WordList) -> 'Agreement':
        """Counted from the pairs themselves."""
        shared = [shared_words(pair.first, pair.second) for pair in pairs]
        others = [shared_words(pair.first, pair.other) for pair in pairs if pair.other is not None]
        kinds = [same_by_kind(pair.first, pair.second, word_list) for pair in pairs]
        said = {kind: [same[kind] for same in kinds if kind in same] for kind in word_list.kinds}
        return cls(
            num_pairs=len(pairs),
            shared=mean(shared),
            shared_with_other=mean(others),
            equal=mean([share == 1 for share in shared]),
            by_kind={kind: (len(same), mean(same)) for kind, same in said.items()},
        )


def shared_words(first: str, second: str) -> float:
    """Twice the words of both over the words of each, every word counted once: the Dice coefficient.

    1 where two texts use the same words, 0 where they share none or neither says anything.

    Source: Sørensen 1948.
    """
    one, two = set(words(first).split()), set(words(second).split())
    return 2 * len(one & two) / (len(one) + len(two)) if one or two else 0.0


def same_by_kind(first: str, second: str, word_list: WordList) -> dict[str, bool]:
    """For each kind of which both texts say a word: whether one says nothing else than the other's.

    So it is with "grey" and "gray", and with "left" and "top left".
    """
    one, two = (_said(text, word_list) for text in (first, second))
    return {
        kind: any(b not in word_list.others(a) for a in one[kind] for b in two[kind])
        for kind in word_list.kinds
        if one[kind] and two[kind]
    }


def _said(text: str, word_list: WordList) -> dict[str, list[str]]:
    found = list(word_list.find(text))
    return {kind: [word.word for word in found if word.kind == kind] for kind in word_list.kinds}
