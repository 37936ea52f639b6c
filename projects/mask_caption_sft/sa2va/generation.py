"""What constrains the student's writing: tokens it may not use, and where it stops."""

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from ..structures import CaptionIds


class BanTokens(LogitsProcessor):
    """Makes special tokens impossible to write, and counts how often one was the favourite.

    Args:
        banned_ids: ``[B]`` long.
        num_rows: Captions written at once.
    """

    def __init__(self, banned_ids: Tensor, num_rows: int) -> None:
        self.banned_ids = banned_ids
        self.attempts = torch.zeros(0, num_rows, dtype=torch.bool, device=banned_ids.device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        attempt = torch.isin(scores.argmax(-1), self.banned_ids)
        self.attempts = torch.cat([self.attempts, attempt[None]])
        return scores.index_fill(-1, self.banned_ids, -torch.inf)


class EndOfTurn(StoppingCriteria):
    """Stops a caption once its text holds the end-of-turn marker.

    The marker is compared as text: in the real tokenizer it is several tokens,
    whose split depends on what stands before it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, marker: str) -> None:
        self.tokenizer, self.marker = tokenizer, marker

    def __call__(self, input_ids: Tensor, scores, **kwargs) -> Tensor:
        tails = self.tokenizer.batch_decode(input_ids[:, -12:], skip_special_tokens=False)
        return torch.tensor([self.marker in tail for tail in tails], device=input_ids.device)


def cut_at_end_of_turn(
    rows: Tensor, tokenizer: PreTrainedTokenizerBase, marker: str, attempts: Tensor
) -> CaptionIds:
    """Captions without the marker and what follows it.

    Args:
        rows: ``[R, T]`` long, new tokens as generated.
        tokenizer: Decodes them.
        marker: End-of-turn text.
        attempts: ``[T', R]`` bool, from :class:`BanTokens`; counted up to the end of each caption.
    """
    lengths = [_caption_len(row, tokenizer, marker) for row in rows.tolist()]
    width = max([*lengths, 1])
    length = torch.tensor(lengths, device=rows.device, dtype=torch.long)
    mask = torch.arange(width, device=rows.device) < length[:, None]
    ids = rows[:, :width].masked_fill(~mask, tokenizer.pad_token_id)
    written = torch.arange(len(attempts), device=rows.device)[:, None] <= length
    return CaptionIds(ids, mask, (attempts & written).sum(0))


def _caption_len(row: list[int], tokenizer: PreTrainedTokenizerBase, marker: str) -> int:
    text = tokenizer.decode(row, skip_special_tokens=False)
    end = text.find(marker)
    if end < 0:
        return len(row)
    length = 0
    while length < len(row) and len(tokenizer.decode(row[: length + 1], skip_special_tokens=False)) <= end:
        length += 1
    return length
