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


def expressions(things: Sequence[Thing], index: int) -> list[str]:
    """What people would call one of some things: texts that fit no other, and say one word more than
    the shortest of them at most. None if another thing is like it."""
    texts = [expression(things[index], kinds) for kinds in CHOICES]
    return no_longer_than_needed([text for text in texts if names_only(things, index, text)])


def no_longer_than_needed(texts: Sequence[str]) -> list[str]:
    """The texts that have one attribute more than the shortest one at most."""
    least = min((len(attributes(text)) for text in texts), default=0)
    return [text for text in texts if len(attributes(text)) <= least + 1]
