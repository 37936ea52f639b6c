"""Words by kind: where a text holds one, and which others would say something else."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from ...tiny_world.scene import COLORS, PLACES, SHAPES, SIZES

#: Words and phrases of one meaning.
Synonyms = tuple[str, ...]
_COCO = Path(__file__).parent / 'coco_words.json'
_FORM = 'Write {"colour": ["red", "blue", ["grey", "gray"]], ...}: kinds and their words, synonyms in a list.'


class FoundWord(NamedTuple):
    """A word or phrase of a list in a text.

    Attributes:
        word: As the list has it.
        kind: Its kind.
        text: Where it is.
        start, end: Its letters, ``text[start:end]``.
    """

    word: str
    kind: str
    text: str
    start: int
    end: int

    def replaced_by(self, other: str) -> str:
        """The text with another word in its place."""
        return self.text[: self.start] + other + self.text[self.end :]

    def dropped(self) -> str:
        """The text without it; empty if it is all there is."""
        return ' '.join(f'{self.text[: self.start]} {self.text[self.end :]}'.split())


class WordList:
    """Words and phrases by kind, in lower case.

    Args:
        name: For messages: the file, or the name of a list that ships.
        kinds: The words of each kind; a list among them holds words of one meaning, none of which is
            wrong where another is right.

    Raises:
        ValueError: It is not of that form, a word is in two places, or a kind has nothing to replace a word
            by.
    """

    def __init__(self, name: str, kinds: Mapping[str, Sequence[str | Sequence[str]]]) -> None:
        self.name = name
        if not isinstance(kinds, Mapping) or not kinds:
            raise ValueError(f'{name} holds no kind of words. {_FORM}')
        self.kinds: dict[str, list[Synonyms]] = {
            kind: _meanings(name, kind, entries) for kind, entries in kinds.items()
        }
        self._kind_of: dict[str, str] = {}
        for kind, meanings in self.kinds.items():
            for word in (word for meaning in meanings for word in meaning):
                if word in self._kind_of:
                    raise ValueError(
                        f'{name}: {word!r} is listed under {self._kind_of[word]!r} and again under {kind!r}. '
                        'Leave it in one place.'
                    )
                self._kind_of[word] = kind
        # Of the alternatives that begin at a letter the first one that fits is taken.
        longest_first = sorted(self._kind_of, key=len, reverse=True)
        any_word = '|'.join(r'\s+'.join(map(re.escape, word.split())) for word in longest_first)
        self._pattern = re.compile(rf'(?<!\w)(?:{any_word})(?!\w)', re.IGNORECASE)

    def find(self, text: str) -> Iterator[FoundWord]:
        """The listed words of a text from left to right, whole words only, the longest phrase first."""
        for match in self._pattern.finditer(text):
            word = _plain(match.group())
            yield FoundWord(word, self._kind_of[word], text, match.start(), match.end())

    def others(self, word: str) -> list[str]:
        """The words of its kind that say something else, in the order of the list.

        A phrase and a part of it say the same as far as they go: a thing at the "top left" is at the "left".
        """
        parts = set(word.split())
        return [
            other
            for meaning in self.kinds[self._kind_of[word]]
            for other in meaning
            if word not in meaning and not (parts <= set(other.split()) or set(other.split()) <= parts)
        ]


def tiny_words() -> dict[str, list[str]]:
    """The words that are true or false of a thing of the tiny world."""
    corners = [' '.join(corner) for corner in product(('top', 'bottom'), ('left', 'right'))]
    return {
        'colour': list(COLORS),
        'shape': list(SHAPES),
        'size': list(SIZES),
        'place': [*PLACES, *corners],
    }


def read_word_list(name: str) -> WordList:
    """A list that ships, or one from a file.

    Args:
        name: ``'tiny'`` (the tiny world's words), ``'coco'`` (words of people's expressions in RefCOCO), or a
            path of a JSON file, see :class:`WordList`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not JSON, or see :class:`WordList`.
    """
    if name == 'tiny':
        return WordList(name, tiny_words())
    path = _COCO if name == 'coco' else Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{name} is no file of words. Give a JSON file, or 'coco' or 'tiny'.")
    try:
        kinds = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{name} is not JSON ({error}). {_FORM}') from error
    return WordList(name, kinds)


def _meanings(name: str, kind: str, entries: Any) -> list[Synonyms]:
    """The words of one kind, grouped by meaning, checked."""
    if not isinstance(entries, list):
        raise ValueError(f'{name}: {kind!r} is {entries!r}, not a list of words. {_FORM}')
    meanings = []
    for entry in entries:
        meaning = entry if isinstance(entry, list) else [entry]
        wrong = [word for word in meaning if not (isinstance(word, str) and re.search(r'\w', word))]
        if wrong or not meaning:
            raise ValueError(f'{name}: {kind!r} holds {(wrong or [meaning])[0]!r}, which is no word. {_FORM}')
        meanings.append(tuple(map(_plain, meaning)))
    if len(meanings) < 2:
        raise ValueError(
            f'{name}: no word of the kind {kind!r} can be replaced: it has {len(meanings)} meaning(s), '
            f'{entries!r}. Add one, or leave the kind out.'
        )
    return meanings


def _plain(word: str) -> str:
    return ' '.join(word.lower().split())
