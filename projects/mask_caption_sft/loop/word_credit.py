"""Which words of a caption its region is found by."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..ops.mask import mask_iou
from ..structures import Captions
from .candidates import masks_from
from .step import Step


@dataclass
class WordCredit:
    """A word is worth teaching if the segmenter finds the region worse without it.

    A mask says of a whole caption that it is good, not of which words: those that happen to stand beside
    the right ones would be taught as well, true or not.

    Args:
        min_drop: By how much the IoU in view 2 has to fall.
    """

    min_drop: float = 0.02

    def __call__(self, step: Step, rows: Tensor, captions: Captions, iou: Tensor) -> Tensor:
        """``[N, L]`` bool: the tokens of the words that help, and the end of turn.

        Args:
            step: The batch.
            rows: ``[N]`` long, the described region that each caption is about.
            captions: N captions.
            iou: ``[N]``, from the whole captions.
        """
        words = [text.split() for text in captions.texts]
        without = [(n, i) for n, said in enumerate(words) for i in range(len(said))]
        texts = [' '.join(words[n][:i] + words[n][i + 1 :]) for n, i in without]
        about = torch.tensor([n for n, _ in without], dtype=torch.long, device=rows.device)
        helps = iou[about] - self._iou(step, rows[about], texts) >= self.min_drop
        helping = {case for case, is_needed in zip(without, helps.tolist()) if is_needed}
        taught = captions.mask & ~captions.in_caption
        for n, (ids, inside) in enumerate(zip(captions.ids, captions.in_caption)):
            for token, word in enumerate(step.student.text.word_of_tokens(ids[inside].tolist())):
                taught[n, token] = (n, word) in helping
        return taught

    def _iou(self, step: Step, rows: Tensor, texts: list[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, device=rows.device)
        views = step.views2[rows]
        assert views.masks is not None
        embeds = step.segmenter.embed_captions(texts)
        return mask_iou(masks_from(step.segmenter, views, embeds, step.segmenter_prefix), views.masks)
