"""How well regions are found from parts of captions, and what words are worth, by token."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..ops.mask import mask_iou
from ..structures import Captions
from .candidates import masks_from
from .step import Step


def partial_iou(
    step: Step, rows: Tensor, captions: Captions, iou: Tensor, parts: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], float]:
    """IoU in view 2 of the segmenter's mask from each part of a caption; equal ones of a region run once.

    Args:
        step: The batch.
        rows: ``[N]`` long, the described region that each caption is about.
        captions: N captions. For memory, as many parts as these run together.
        iou: ``[N]``, from the whole captions.
        parts: Numbers of described regions, each with a text.

    Returns:
        The IoU of each part and each whole caption.
    """
    known = {
        (row, ' '.join(text.split())): whole
        for row, text, whole in zip(rows.tolist(), captions.texts, iou.tolist())
    }
    asked, at_once = [part for part in dict.fromkeys(parts) if part not in known], len(captions)
    found: list[float] = []
    for begin in range(0, len(asked), at_once):
        about, texts = zip(*asked[begin : begin + at_once])
        views = step.views2[torch.tensor(about, device=rows.device)]
        assert views.masks is not None
        embeds = step.segmenter.embed_captions(list(texts))
        masks = masks_from(step.segmenter, views, embeds, step.segmenter_prefix)
        found += mask_iou(masks, views.masks).tolist()
    return known | dict(zip(asked, found))


def by_token(step: Step, captions: Captions, of_words: list[list[float]]) -> Tensor:
    """``[N, L]``: the value of each token's word, 0 for the end of turn and beyond.

    Args:
        step: The batch.
        captions: N captions.
        of_words: The values of each one's words.
    """
    values = torch.zeros(captions.ids.shape)
    for n, (ids, inside) in enumerate(zip(captions.ids.cpu(), captions.in_caption.cpu())):
        for token, word in enumerate(step.student.text.word_of_tokens(ids[inside].tolist())):
            # Outside are punctuation, and what only letters, not bytes, show to be white space.
            values[n, token] = of_words[n][word] if 0 <= word < len(of_words[n]) else 0.0
    return values.to(captions.ids.device)
