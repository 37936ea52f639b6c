"""What people would call the things of a scene."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from .scene import KIND_OF, KINDS, Thing

#: Every choice of kinds that an expression can say.
CHOICES = [kinds for number in range(1, len(KINDS) + 1) for kinds in combinations(KINDS, number)]


def expression(thing: Thing, kinds: Sequence[str]) -> str:
    """``'the small red circle at the top left'``, as far as ``kinds`` asks for it."""
    words = [thing.size] if 'size' in kinds else []
    words += [thing.color] if 'color' in kinds else []
    words += [thing.shape if 'shape' in kinds else 'thing']
    place = f' at the {thing.place}' if 'place' in kinds else ''
    return f'the {" ".join(words)}{place}'


def attributes(text: str) -> set[str]:
    """The words of a text that are true or false of a thing; ``the``, ``thing`` and ``at`` are not."""
    return {word for word in text.split() if word in KIND_OF}


def fits(thing: Thing, words: Iterable[str]) -> bool:
    """Whether all of some attributes are true of a thing."""
    return all(word in thing.words(KIND_OF[word]) for word in words)


def names_only(things: Sequence[Thing], index: int, text: str) -> bool:
    """Whether a text fits one of some things and no other."""
    words = attributes(text)
    return [fits(thing, words) for thing in things] == [i == index for i in range(len(things))]
