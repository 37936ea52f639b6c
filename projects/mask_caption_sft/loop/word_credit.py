"""Which words of a caption its region is found by."""

from dataclasses import dataclass
from itertools import chain

from torch import Tensor

from ..structures import Captions
from .partial_captions import by_token, partial_iou
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
        without = [
            [(row, ' '.join(said[:word] + said[word + 1 :])) for word in range(len(said))]
            for row, said in zip(rows.tolist(), words)
        ]
        found = partial_iou(step, rows, captions, iou, chain.from_iterable(without))
        lost = [[whole - found[part] for part in parts] for whole, parts in zip(iou.tolist(), without)]
        helps = by_token(step, captions, lost) >= self.min_drop
        return captions.mask & (helps | ~captions.in_caption)
