"""Between text and token ids: the tokenizer, its special tokens and the prompt template."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..ops import prompts
from ..structures import Captions
from .token_letters import letters_of

#: The marker's letters are within the last so many tokens once it has been written.
MARKER_WINDOW = 12
#: A token with one of these bytes holds a part of a word: ASCII letters and digits, and all beyond ASCII.
OF_WORDS = re.compile(rb'[0-9A-Za-z\x80-\xff]')


class AnswerEnd(NamedTuple):
    """Where the caption of a written answer ends, in bytes and tokens.

    Attributes:
        text: What stands before the end of turn.
        caption_len: Tokens that hold some of the text.
        answer_len: Tokens up to the end of the marker.
        shares_last: The last token of the caption holds the marker's first letters too.
        has_ended: The end of turn was written.
    """

    text: str
    caption_len: int
    answer_len: int
    shares_last: bool
    has_ended: bool


class TextCodec:
    """What a model writes and reads, as ids.

    Args:
        tokenizer: Of a released Sa2VA checkpoint.
        template: How a turn is wrapped.
        vocab_size: Rows of the embedding matrix; the tokenizer may have fewer entries.
        source: Where the tokenizer comes from, for messages.
        image_marks: Tokens before an image, for each of its tokens, and after it.

    Raises:
        ValueError: The tokenizer lacks one of Sa2VA's special tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: prompts.PromptTemplate,
        vocab_size: int,
        source: str | None = None,
        image_marks: Sequence[str] = (prompts.IMG_START, prompts.IMG_CONTEXT, prompts.IMG_END),
    ) -> None:
        self.tokenizer, self.template, self.vocab_size, self.source = tokenizer, template, vocab_size, source
        self._letters = letters_of(tokenizer)
        self._added = {token_id: str(token) for token_id, token in tokenizer.added_tokens_decoder.items()}
        self._any_added = re.compile('|'.join(re.escape(token) for token in self._added.values()))
        self.seg_token_id = self.single(prompts.SEG)
        for token in (prompts.VP_START, prompts.VP_END, *image_marks):
            self.single(token)
        self.image_token_id = self.single(image_marks[1])
        self.end_ids = self.encode(template.end_of_turn)
        self._line_break = self.encode('\n')
        self._prepends_space = self._token_bytes(self._line_break[0]).startswith(b' ')
        # A turn may end with the template's marker, one special token or several ordinary ones, or
        # with the tokenizer's end of sequence; upstream's generation stops at both.
        self.eos_token_id: int | None = tokenizer.eos_token_id
        padding = range(len(tokenizer), vocab_size)
        self.banned_token_ids = sorted({*self._added, *padding}.difference(self.end_ids, [self.eos_token_id]))

    def single(self, token: str) -> int:
        """The id of a special token; raises ``ValueError`` if the tokenizer does not have it."""
        token_id = self.tokenizer.convert_tokens_to_ids(token)
        if token_id is None or token_id == self.tokenizer.unk_token_id:
            raise ValueError(
                f'The tokenizer of {self.source} has no token {token!r}. Use the tokenizer files '
                'of a released Sa2VA checkpoint.'
            )
        return token_id

    # ------------------------------------------------------------------ answers

    def encode(self, text: str) -> list[int]:
        """Ids of a text of ours, special tokens included."""
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def encode_inside(self, text: str) -> list[int]:
        """Ids of a text that goes on where other text ends, and not at a beginning or a special token.

        Some tokenizers put a space before the first word of what they are given. A line break comes first
        here, which no token has with anything else, and is left out again.
        """
        if not self._prepends_space:
            return self.encode(text)
        return self.encode(f'\n{text}')[len(self._line_break) :]

    def encode_beginning(self, text: str) -> list[int]:
        """Ids of a text that begins a prompt, with what the tokenizer puts before a text.

        InternLM2's puts ``<s>`` there, also in upstream's training and inference; Qwen's nothing.
        """
        return self.tokenizer(text).input_ids

    def encode_answers(self, texts: Sequence[str]) -> Captions:
        """People's texts as the assistant would write them, each with its end of turn.

        Text and marker are tokenised as one string, as upstream's training data are.

        Raises:
            ValueError: A text contains a special token.
        """
        for text in texts:
            self._check(text)
        return self.captions([self.encode(text + self.template.end_of_turn) for text in texts])

    def captions(self, rows: Sequence[Sequence[int]], max_caption_len: int | None = None) -> Captions:
        """Answers as they were sampled, cut after their end of turn.

        Args:
            rows: Token ids; what follows the end of turn is dropped.
            max_caption_len: A caption that has not ended after so many tokens is cut there.
        """
        ends = [self.find_end(row, max_caption_len) for row in rows]
        return Captions.from_rows(
            [list(row[: end.answer_len]) for row, end in zip(rows, ends)],
            [end.caption_len for end in ends],
            [end.text for end in ends],
            [end.shares_last for end in ends],
            [end.has_ended for end in ends],
        )

    def find_end(self, row: Sequence[int], max_caption_len: int | None = None) -> AnswerEnd:
        """Where a written answer's caption ends; counted in bytes, since letters may span tokens."""
        pieces = [self._token_bytes(token_id) for token_id in row]
        stops = list(accumulate(map(len, pieces)))
        starts = [0, *stops[:-1]]
        written = b''.join(pieces)
        end, after = self._end_in_bytes(row, written, starts)
        caption_len = sum(start < end for start in starts)
        limit = len(row) if max_caption_len is None else max_caption_len
        if end == after or caption_len > limit:
            cut = min(len(row), limit)
            text = b''.join(pieces[:cut])
            return AnswerEnd(_readable(text), cut, cut, shares_last=False, has_ended=False)
        shares_last = caption_len > 0 and stops[caption_len - 1] > end
        answer_len = sum(start < after for start in starts)
        return AnswerEnd(_readable(written[:end]), caption_len, answer_len, shares_last, has_ended=True)

    def has_ended(self, row: Sequence[int]) -> bool:
        """Whether the end of turn, or the end of sequence, is among the last tokens of a growing answer.

        The marker is compared as text: in the real tokenizer it is several tokens, whose split
        depends on what stands before it.
        """
        return self.find_end(row[-MARKER_WINDOW:]).has_ended

    def word_of_tokens(self, row: Sequence[int]) -> list[int]:
        """Which of ``text.split()`` holds the last letter of each token of a caption; -1 for tokens without
        a letter or digit. A full stop is no part of the word before it: taught as one, it would be repeated.

        Args:
            row: The tokens that hold some of the caption's text.
        """
        pieces = [self._token_bytes(token_id) for token_id in row]
        begins = [found.start() for found in re.finditer(rb'\S+', b''.join(pieces))]
        words = [bisect_left(begins, stop) - 1 for stop in accumulate(map(len, pieces))]
        return [word if OF_WORDS.search(piece) else -1 for word, piece in zip(words, pieces)]

    def position_of_seg(self, answer: Sequence[int]) -> int:
        """The position of the one ``[SEG]`` in an answer."""
        positions = [i for i, token_id in enumerate(answer) if token_id == self.seg_token_id]
        if len(positions) != 1:
            raise ValueError(f'The answer holds {len(positions)} [SEG] tokens; exactly one is needed.')
        return positions[0]

    def _end_in_bytes(self, row: Sequence[int], written: bytes, starts: list[int]) -> tuple[int, int]:
        """Begin and end of the first marker or end of sequence; the length, twice, where there is none."""
        marker = self.template.end_of_turn.encode()
        found = [(len(written), len(written))]
        if marker in written:
            begin = written.index(marker)
            found.append((begin, begin + len(marker)))
        if self.eos_token_id is not None and self.eos_token_id in row:
            begin = starts[list(row).index(self.eos_token_id)]
            found.append((begin, begin + len(self._token_bytes(self.eos_token_id))))
        return min(found)

    def _token_bytes(self, token_id: int | None) -> bytes:
        if token_id in self._added:
            return self._added[token_id].encode()
        piece = self.tokenizer.convert_ids_to_tokens(token_id) or ''
        return self._letters.bytes_of(piece)

    # ------------------------------------------------------------------ the segment prompt

    def encode_expressions(self, texts: Sequence[str]) -> list[list[int]]:
        """People's texts as they stand in the segment prompt, after a space.

        Raises:
            ValueError: A text contains a special token.
        """
        for text in texts:
            self._check(text)
        return [self.encode_inside(f' {text}') for text in texts]

    def encode_captions(self, texts: Sequence[str]) -> list[list[int]]:
        """Written texts in the same place, none for an empty one.

        A model may spell a special token in ordinary ones ("[", "SEG", "]"); it stays spelled.
        """
        return [self._encode_spelled(f' {text}') if text.strip() else [] for text in texts]

    def _encode_spelled(self, text: str) -> list[int]:
        cuts = [0, *(found.start() + 1 for found in self._any_added.finditer(text)), len(text)]
        parts = [text[begin:end] for begin, end in pairwise(cuts)]
        return [token_id for part in parts for token_id in self.encode_inside(part)]

    def _check(self, text: str) -> None:
        found = self._any_added.search(text)
        if found:
            raise ValueError(
                f'The expression {text!r} contains the special token {found.group()!r}. '
                'Remove it from the annotation.'
            )

    def first_token_map(self) -> Tensor:
        """``[V]`` long: for each token its twin with a leading space, or itself.

        In the segment prompt a caption follows a space, so that its first token is another one. The
        map is right for most words only: after a space a tokenizer may split the text elsewhere.
        """
        vocabulary, space = self.tokenizer.get_vocab(), self._letters.space
        twins = torch.arange(self.vocab_size)
        for piece, token_id in vocabulary.items():
            if token_id not in self._added and not piece.startswith(space):
                twins[token_id] = vocabulary.get(space + piece, token_id)
        return twins

    def last_token_map(self) -> Tensor:
        """``[V]`` long: for each token its twin without the end-of-turn marker's first letters, or itself.

        For the last token of a caption that shares it with the marker: ``.<`` is read as ``.``.
        """
        vocabulary = self.tokenizer.get_vocab()
        beginnings = [self.template.end_of_turn[:n] for n in range(1, len(self.template.end_of_turn))]
        twins = torch.arange(self.vocab_size)
        for beginning in beginnings:
            for piece, token_id in vocabulary.items():
                if token_id not in self._added and piece.endswith(beginning):
                    twins[token_id] = vocabulary.get(piece.removesuffix(beginning), token_id)
        return twins


def _readable(text: bytes) -> str:
    return text.decode(errors='replace').strip()
