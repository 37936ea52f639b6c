"""Encoders learn to see before anything has to be said: every place names the words of its thing."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, layer_norm

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

    SAM 2's coarsest level has a linear head of its own, since the mask decoder matches it with the prompt
    by products alone. The heads read normalised features: else the encoder makes them large (a standard
    deviation of 16), and every attention of the decoder is saturated before it has learned anything.

    Args:
        grounding_width: Channels of SAM 2's FPN levels.
        token_width: Features of an image token before the projector, see :func:`token_features`.
    """

    def __init__(self, grounding_width: int, token_width: int) -> None:
        super().__init__()
        number = len(VOCABULARY)
        self.levels = nn.ModuleList(nn.Conv2d(grounding_width, 64, 1) for _ in range(3))
        self.words = nn.Sequential(nn.GELU(), nn.Conv2d(64, number + 1, 1))
        self.coarse_words = nn.Conv2d(grounding_width, number, 1)
        self.cells = nn.Sequential(nn.Linear(token_width, 128), nn.GELU(), nn.Linear(128, number))

    def forward(
        self, features: ImageFeatures, batch: RegionBatch, masks: Tensor, see: Sequence[str]
    ) -> dict[str, Tensor]:
        """Losses of the encoders that learn, and how often they have the word of each kind right.

        Args:
            features: Of the batch's images: one tile each, or cells.
            batch: R regions whose expressions say all that is true of them.
            masks: ``[R, h, w]`` bool, in their first views, at the size of the finest level.
            see: ``'grounding'``, ``'vit'``, both, or none.
        """
        truth = true_words([str(text) for text in batch.expressions]).to(masks.device)
        losses: dict[str, Tensor] = {}
        if 'grounding' in see:
            words, coarse_words, is_thing = self._grounding(features, batch, masks)
            losses['loss_word_maps'] = binary_cross_entropy_with_logits(words, truth.float()) + is_thing
            losses['loss_coarse_words'] = binary_cross_entropy_with_logits(coarse_words, truth.float())
            losses |= {f'map_{kind}': _accuracy(words, truth, kind) for kind in WORDS}
            losses |= {f'coarse_{kind}': _accuracy(coarse_words, truth, kind) for kind in WORDS}
        if 'vit' in see:
            words = self._vit(features, batch)
            losses['loss_word_cells'] = binary_cross_entropy_with_logits(words, truth.float())
            losses |= {f'cell_{kind}': _accuracy(words, truth, kind) for kind in WORDS}
        return losses

    def _grounding(
        self, features: ImageFeatures, batch: RegionBatch, masks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean logits within each region ``[R, W]``, of all levels and of the coarsest, and the loss of
        what is a thing at all."""
        size = masks.shape[-2:]
        fine, middle, coarse = (_normalized(level) for level in features.grounding)
        levels = [
            interpolate(head(level), size, mode='bilinear')
            for head, level in zip(self.levels, (fine, middle, coarse))
        ]
        maps = self.words(levels[0] + levels[1] + levels[2])
        coarse_maps = interpolate(self.coarse_words(coarse), size, mode='bilinear')
        things = torch.zeros(len(maps), *size, dtype=torch.bool, device=masks.device)
        things.index_put_((batch.image_index1,), masks, accumulate=True)
        return (
            _mean_inside(maps[batch.image_index1, :-1], masks),
            _mean_inside(coarse_maps[batch.image_index1], masks),
            binary_cross_entropy_with_logits(maps[:, -1], things.to(maps.dtype)),
        )

    def _vit(self, features: ImageFeatures, batch: RegionBatch) -> Tensor:
        """``[R, W]``: from the mean of the image tokens that the visual prompt marks."""
        assert features.grids is not None
        means = []
        for image, prompt in zip(batch.image_index1.tolist(), batch.visual_prompts):
            rows, columns = features.grids[image]
            marked = prompt[:rows, :columns].flatten()
            means.append(token_features(features, image)[marked].mean(0))
        return self.cells(torch.stack(means))


def token_features(features: ImageFeatures, image: int) -> Tensor:
    """``[tokens, F]``: all that the language model will be shown of each token of an image, tile or cells."""
    assert features.grids is not None
    rows, columns = features.grids[image]
    return features.vit.split(features.num_tiles)[image].reshape(rows * columns, -1)


def _normalized(level: Tensor) -> Tensor:
    """``[I, C, h, w]`` of zero mean and unit variance over the channels."""
    channels_last = level.permute(0, 2, 3, 1)
    return layer_norm(channels_last, channels_last.shape[-1:]).permute(0, 3, 1, 2)


def _mean_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """``[R, W]``: means of ``[R, W, h, w]`` where ``[R, h, w]`` is true."""
    inside = masks.flatten(1)[:, None].to(maps.dtype)
    return (maps.flatten(2) * inside).sum(2) / inside.sum(2).clamp(min=1)


def _accuracy(logits: Tensor, truth: Tensor, kind: str) -> Tensor:
    """How often the likeliest word of a kind is true."""
    columns = [number for number, word in enumerate(VOCABULARY) if KIND_OF[word] == kind]
    best = logits[:, columns].argmax(1, keepdim=True)
    return truth[:, columns].gather(1, best).float().mean().detach()
