"""Everything that differs between the language-vision models that a Sa2VA can have."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from .key_rows import Fused


class Backbone(ABC):
    """A language-vision model: how it is built, read from a checkpoint, shown an image and a region.

    It holds no weights: methods that run something are given the native model, ``mllm``, that
    :meth:`build` made. Whatever a checkpoint decides is read from its ``config.json``.

    Attributes:
        config: Content of ``config.json``.
        where: Names the file in messages.
        family: What it is called in messages and tables.
        image_start, image_token, image_end: Tokens before an image, for each of its tokens, and after it.
        renamed: ``(released, native)`` names of the model's tensors; see checkpoints/key_map.py.
        fused: Released tensors that are several native ones.
        lora_targets: Native linear modules that carry LoRA.
        released_lora_targets: The same modules in the released layout, as upstream's trainer wraps them.
    """

    family: str
    image_start: str
    image_token: str
    image_end: str
    renamed: list[tuple[str, str]]
    fused: list[Fused]
    lora_targets: list[str]
    released_lora_targets: list[str]

    def __init__(self, config: dict[str, Any], where: str) -> None:
        self.config, self.where = config, where

    def _need(self, *keys: str) -> None:
        """Raise ``ValueError`` naming those of the dotted keys that the config does not have."""
        missing = [key for key in keys if not _has(self.config, key.split('.'))]
        if missing:
            raise ValueError(
                f'{self.where} is of the family {self.family} and lacks {", ".join(missing)}. Found are '
                f'{", ".join(sorted(self.config))}. Use the config.json of the released checkpoint.'
            )

    # ------------------------------------------------------------------ what the config says

    @property
    @abstractmethod
    def language_config(self) -> dict[str, Any]:
        """The language model's part of the config, itself and no copy."""

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Side of a ViT tile in pixels."""

    @property
    @abstractmethod
    def grid_size(self) -> int:
        """Side of a tile's grid of image tokens.

        Raises:
            ValueError: Images of this size do not divide into image tokens.
        """

    @property
    def hidden_size(self) -> int:
        """Width of the language model."""
        return self.language_config['hidden_size']

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding matrix."""
        return self.language_config['vocab_size']

    @property
    def max_context(self) -> int:
        """The longest sequence of tokens that the language model takes."""
        return self.language_config['max_position_embeddings']

    @property
    def is_tied(self) -> bool:
        """Whether one matrix is both the token embeddings and the output matrix.

        The language model's part of the config decides. The value at the top level says nothing: Sa2VA's
        own configuration class overwrites it.
        """
        return bool(self.language_config.get('tie_word_embeddings', False))

    # ------------------------------------------------------------------ the native model

    @abstractmethod
    def build(self, image_token_id: int) -> Any:
        """The native model, randomly initialised.

        Args:
            image_token_id: The token that stands for an image in its own ``forward``, which we do not call.
        """

    def language_model(self, mllm: Any) -> Any:
        """The transformer, from embeddings to the last hidden states."""
        return mllm.model.language_model

    @abstractmethod
    def projector(self, mllm: Any) -> nn.Module:
        """The trained module between vision encoder and language model."""

    @abstractmethod
    def vision_encoder(self, mllm: Any) -> nn.Module:
        """The frozen module that sees the pixels."""

    # ------------------------------------------------------------------ images and regions

    @abstractmethod
    def encode(self, mllm: Any, pixel_values: Tensor) -> Tensor:
        """Features ``[tiles, g * g, C]`` of tiles ``[tiles, 3, S, S]``, before the projector."""

    @abstractmethod
    def image_tokens(self, mllm: Any, features: Tensor) -> Tensor:
        """Tokens ``[tiles, g * g, D]`` of one image, from its features."""

    @abstractmethod
    def region_tokens(self, image_tokens: Tensor, cells: Tensor) -> Tensor:
        """The tokens ``[n, D]`` that show a region in a prompt.

        Args:
            image_tokens: From :meth:`image_tokens`.
            cells: ``[g, g]`` bool, the region on the grid that visual prompts are marked on.
        """


def _has(config: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(config, dict) or config.get(key) is None:
            return False
        config = config[key]
    return True
