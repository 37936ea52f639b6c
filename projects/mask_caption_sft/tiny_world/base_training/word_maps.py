"""Encoders learn to see before anything has to be said: every place names the words of its thing."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from ...structures import ImageFeatures, RegionBatch
from ..scene import KIND_OF, WORDS

#: All words, and their numbers.
VOCABULARY = [word for words in WORDS.values() for word in words]
NUMBER_OF = {word: number for number, word in enumerate(VOCABULARY)}


def true_words(texts: list[str]) -> Tensor:
    """``[R, W]`` bool: the words of each text, in the order of ``VOCABULARY``."""
    return torch.tensor([[word in text.split() for word in VOCABULARY] for text in texts])


class WordMaps(nn.Module):
    """Small heads that read words off the features of both encoders; dropped after training.

    Args:
        grounding_width: Channels of SAM 2's FPN levels.
        vit_width: Channels of an image token before the projector.
    """

    def __init__(self, grounding_width: int, vit_width: int) -> None:
        super().__init__()
        number = len(VOCABULARY)
        self.levels = nn.ModuleList(nn.Conv2d(grounding_width, 64, 1) for _ in range(3))
        self.words = nn.Sequential(nn.GELU(), nn.Conv2d(64, number + 1, 1))
        self.cells = nn.Sequential(nn.Linear(vit_width, 128), nn.GELU(), nn.Linear(128, number))

    def forward(
        self, features: ImageFeatures, batch: RegionBatch, masks: Tensor, see: Sequence[str]
    ) -> dict[str, Tensor]:
        """Losses of the encoders that learn, and how often they have the word of each kind right.

        Args:
            features: Of the batch's images, one tile each.
            batch: R regions whose expressions say all that is true of them.
            masks: ``[R, h, w]`` bool, in their first views, at the size of the finest level.
            see: ``'grounding'``, ``'vit'``, both, or none.
        """
        truth = true_words([str(text) for text in batch.expressions]).to(masks.device)
        losses: dict[str, Tensor] = {}
        if 'grounding' in see:
            words, is_thing = self._grounding(features, batch, masks)
            losses['loss_word_maps'] = binary_cross_entropy_with_logits(words, truth.float()) + is_thing
            losses |= {f'map_{kind}': _accuracy(words, truth, kind) for kind in WORDS}
        if 'vit' in see:
            words = self._vit(features, batch)
            losses['loss_word_cells'] = binary_cross_entropy_with_logits(words, truth.float())
            losses |= {f'cell_{kind}': _accuracy(words, truth, kind) for kind in WORDS}
        return losses

    def _grounding(self, features: ImageFeatures, batch: RegionBatch, masks: Tensor) -> tuple[Tensor, Tensor]:
        """``[R, W]`` mean logits within each region, and the loss of what is a thing at all."""
        size = masks.shape[-2:]
        levels = [
            interpolate(level(f), size, mode='bilinear') for level, f in zip(self.levels, features.grounding)
        ]
        maps = self.words(levels[0] + levels[1] + levels[2])
        things = torch.zeros(len(maps), *size, dtype=torch.bool, device=masks.device)
        things.index_put_((batch.image_index1,), masks, accumulate=True)
        of_region = maps[batch.image_index1, :-1].flatten(2)
        inside = masks.flatten(1)[:, None].to(maps.dtype)
        mean = (of_region * inside).sum(2) / inside.sum(2).clamp(min=1)
        return mean, binary_cross_entropy_with_logits(maps[:, -1], things.to(maps.dtype))

    def _vit(self, features: ImageFeatures, batch: RegionBatch) -> Tensor:
        """``[R, W]``: from the mean of the image tokens that the visual prompt marks."""
        cells = batch.visual_prompts.flatten(1)[..., None].to(features.vit.dtype)
        tokens = features.vit[batch.image_index1]
        return self.cells((tokens * cells).sum(1) / cells.sum(1))


def _accuracy(logits: Tensor, truth: Tensor, kind: str) -> Tensor:
    """How often the likeliest word of a kind is true."""
    columns = [number for number, word in enumerate(VOCABULARY) if KIND_OF[word] == kind]
    best = logits[:, columns].argmax(1, keepdim=True)
    return truth[:, columns].gather(1, best).float().mean().detach()
