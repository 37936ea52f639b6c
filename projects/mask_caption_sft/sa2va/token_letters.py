"""How a tokenizer writes bytes and spaces in its pieces."""

import re
from typing import Protocol

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

#: Byte-level BPE writes every byte as one letter.
_BYTE_OF = {letter: byte for byte, letter in bytes_to_unicode().items()}
_SPACE = '▁'
_BYTE = re.compile(r'<0x([0-9A-F]{2})>')


class Letters(Protocol):
    """A way to write pieces.

    Attributes:
        space: A space, as the first letter of a piece.
    """

    space: str

    def bytes_of(self, piece: str) -> bytes:
        """What a piece stands for."""


class ByteLetters:
    """Byte-level BPE, as Qwen's."""

    space = 'Ġ'

    def bytes_of(self, piece: str) -> bytes:
        """One byte per letter."""
        return bytes(_BYTE_OF[letter] for letter in piece)


class SentencePieces:
    """SentencePiece, as InternLM2's and Phi3's: letters as they are, and a token for each other byte."""

    space = _SPACE

    def bytes_of(self, piece: str) -> bytes:
        """Letters in UTF-8; ``<0x0A>`` is a byte."""
        if match := _BYTE.fullmatch(piece):
            return bytes.fromhex(match[1])
        return piece.replace(_SPACE, ' ').encode()


def letters_of(tokenizer: PreTrainedTokenizerBase) -> Letters:
    """The way in which a tokenizer writes its pieces."""
    return SentencePieces() if _SPACE in tokenizer.get_vocab() else ByteLetters()
