"""Between text and token ids: the tokenizer, its special tokens and the prompt template."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from ..ops import prompts
from ..structures import CaptionIds


class TextCodec:
    """What a model writes and reads, as ids.

    Args:
        tokenizer: Of a released Sa2VA checkpoint.
        template: How a turn is wrapped.
        vocab_size: Rows of the embedding matrix; the tokenizer may have fewer entries.
        source: Where the tokenizer comes from, for messages.

    Raises:
        ValueError: The tokenizer lacks one of Sa2VA's special tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: prompts.PromptTemplate,
        vocab_size: int,
        source: str | None = None,
    ) -> None:
        self.tokenizer, self.template, self.vocab_size, self.source = tokenizer, template, vocab_size, source
        self.seg_token_id = self._single(prompts.SEG)
        self.image_token_id = self._single(prompts.IMG_CONTEXT)
        for token in (prompts.IMG_START, prompts.IMG_END, prompts.VP_START, prompts.VP_END):
            self._single(token)
        # The marker of the end of a turn may be one special token or several ordinary ones.
        allowed = set(self.encode(template.end_of_turn))
        added = set(tokenizer.added_tokens_decoder)
        padding = range(len(tokenizer), vocab_size)
        self.banned_token_ids = sorted(added.union(padding) - allowed)

    def _single(self, token: str) -> int:
        token_id = self.tokenizer.convert_tokens_to_ids(token)
        if token_id is None or token_id == self.tokenizer.unk_token_id:
            raise ValueError(
                f'The tokenizer of {self.source} has no token {token!r}. Use the tokenizer files '
                'of a released Sa2VA checkpoint.'
            )
        return token_id

    def first_token_map(self) -> Tensor:
        """``[V]`` long: for each token its twin with a leading space, or itself."""
        vocabulary = self.tokenizer.get_vocab()
        twins = torch.arange(self.vocab_size)
        special = set(self.tokenizer.added_tokens_decoder)
        for piece, token_id in vocabulary.items():
            if token_id not in special and not piece.startswith('Ġ'):
                twins[token_id] = vocabulary.get('Ġ' + piece, token_id)
        return twins

    def encode(self, text: str) -> list[int]:
        """Ids of a text of ours, special tokens included."""
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def encode_answers(self, texts: Sequence[str]) -> CaptionIds:
        """Annotators' texts as the assistant would write them.

        Raises:
            ValueError: A text contains a special token.
        """
        return self._encode_all(texts, '')

    def encode_expressions(self, texts: Sequence[str]) -> CaptionIds:
        """Annotators' texts as they stand in the segment prompt, after a space.

        Raises:
            ValueError: A text contains a special token.
        """
        return self._encode_all(texts, ' ')

    def _encode_all(self, texts: Sequence[str], lead: str) -> CaptionIds:
        for text in texts:
            self._check(text)
        return self.pad([self.encode(lead + text) for text in texts])

    def _check(self, text: str) -> None:
        found = [t for t in self.tokenizer.get_added_vocab() if t in text]
        if found:
            raise ValueError(
                f'The expression {text!r} contains the special token {found[0]!r}. '
                'Remove it from the annotation.'
            )

    def pad(self, rows: Sequence[Sequence[int]]) -> CaptionIds:
        """Rows of ids, padded on the right; none give a caption batch of no rows."""
        if not rows:
            empty = torch.zeros(0, 1, dtype=torch.long)
            return CaptionIds(empty, empty.bool())
        tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
        ids = pad_sequence(tensors, batch_first=True, padding_value=self.tokenizer.pad_token_id)
        lengths = torch.tensor([len(row) for row in rows])
        return CaptionIds(ids, torch.arange(ids.shape[1]) < lengths[:, None])

    def decode(self, captions: CaptionIds) -> list[str]:
        """Captions as text."""
        rows = [row[keep].tolist() for row, keep in zip(captions.ids, captions.mask)]
        return [text.strip() for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]
