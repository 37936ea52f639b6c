"""The image's part of a prompt, read once for everything that is asked about it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ops.precision import autocast_dtype, without_gradient
from ..structures import ImageFeatures, Piece
from .prompt_forest import KeysValues, PromptForest
from .prompt_pieces import image_piece

if TYPE_CHECKING:
    from .sa2va import Sa2VA


class Prefix:
    """Keys and values of the image's part of a prompt, for each of I images; without gradient and dropout.

    Every prompt begins with its image, nine tenths of its length. An image is read when it is first asked
    for, with the weights that the model has then.

    Args:
        model: Who reads.
        features: Of I images.
    """

    def __init__(self, model: 'Sa2VA', features: ImageFeatures) -> None:
        self.model, self.features = model, features
        self._tokens: dict[int, Piece] = {}
        self._keys_values: dict[int, KeysValues] = {}

    @without_gradient()
    def tokens(self, image: int) -> Piece:
        """Projected tokens of an image."""
        if image not in self._tokens:
            self._tokens[image] = self.model.image_tokens(self.features, image)
        return self._tokens[image]

    def __getitem__(self, image: int) -> KeysValues:
        """Keys and values of one image's part."""
        self.read([image])
        return self._keys_values[image]

    @without_gradient()
    def read(self, images: Iterable[int]) -> None:
        """Read those of the images that have not been read, together."""
        new = sorted(set(images) - self._keys_values.keys())
        if not new:
            return
        forest = PromptForest()
        for image in new:
            forest.root(image_piece(self.model, self.tokens(image)), is_read=False)
        self.model.check_context(forest.longest_prompt(), 0)
        with self.model.without_recomputation():
            _, kept = forest.run_and_keep(self.model.language_model)
        self._keys_values.update(zip(new, map(as_attention_reads, kept)))


def as_attention_reads(keys_values: KeysValues) -> KeysValues:
    """In autocast's type, to which attention casts them anyway, and without the row's other tokens."""
    dtype = autocast_dtype(keys_values.layers[0][0].device)

    def keep(tensor: Tensor) -> Tensor:
        return tensor.to(dtype or tensor.dtype).clone(memory_format=torch.contiguous_format)

    return KeysValues([(keep(keys), keep(values)) for keys, values in keys_values.layers], keys_values.span)
