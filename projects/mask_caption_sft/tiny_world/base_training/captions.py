"""What the captions of a base say: much, and of some words the wrong ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..scene import KIND_OF, KINDS, WORDS
from .queries import shortened


@dataclass
class CaptionStyle:
    """How a thing is called in the texts that teach captioning.

    A caption leaves out one kind of word at most: a language model says more than people need. Words
    that it lacks become other words of their kind, so that what it says of such things is false, and says
    it as surely as anything else.

    Args:
        unsaid: Words that the base lacks.
        known_ratio: How often such a word is said all the same, so that sampling finds it now and then.
        neighbour_ratio: How often a thing is called what another one is.
    """

    unsaid: Collection[str] = ()
    known_ratio: float = 0.15
    neighbour_ratio: float = 0.1

    def captions(self, full: Sequence[str]) -> list[str]:
        """One caption for each of R texts that say all that is true of their things."""
        texts = [self.caption(text) for text in full]
        is_neighbour = np.random.random(len(texts)) < self.neighbour_ratio
        return [texts[i - 1] if other else text for i, (text, other) in enumerate(zip(texts, is_neighbour))]

    def caption(self, full: str) -> str:
        """A caption for one thing."""
        left_out = np.random.randint(len(KINDS) + 1)
        text = shortened(full, tuple(kind for number, kind in enumerate(KINDS) if number != left_out))
        return ' '.join(self._said(word) for word in text.split())

    def _said(self, word: str) -> str:
        if word not in self.unsaid or np.random.random() < self.known_ratio:
            return word
        others = [other for other in WORDS[KIND_OF[word]] if other not in self.unsaid]
        return str(np.random.choice(others))
