"""Everything that differs between the language-vision models that a Sa2VA can have."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from ..ops.pixels import IMAGENET_MEAN, IMAGENET_STD, Channels
from ..structures import Piece
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
        system: Words of the system turn that its prompts begin with; None for none.
        image_cut: How images are cut into tiles: ``'tiles'`` of one size and a thumbnail, or the ``'cells'``
            of an image that is taken whole.
        size_setting: What a config sets to have smaller images.
        trainers: Versions of upstream's trainer that have it, the first in preference.
        pixel_stats: Mean and standard deviation of each channel.
    """

    system: ClassVar[str | None] = None
    image_cut: ClassVar[str] = 'tiles'
    size_setting: ClassVar[str] = 'max_tiles'
    trainers: ClassVar[tuple[str, ...]] = ('v1', 'v2')
    pixel_stats: ClassVar[tuple[Channels, Channels]] = (IMAGENET_MEAN, IMAGENET_STD)

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
        """Side of a ViT tile in pixels, or of a cell where images are taken whole."""

    @property
    @abstractmethod
    def grid_size(self) -> int:
        """Side of a tile's grid of image tokens; 1 for a cell.

        Raises:
            ValueError: Images of this size do not divide into image tokens.
        """

    @property
    def image_marks(self) -> tuple[str, str, str]:
        """Tokens before an image, for each of its tokens, and after it."""
        return self.image_start, self.image_token, self.image_end

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

    def exact_modules(self, mllm: Any) -> list[nn.Module]:
        """Modules whose frozen weights stay in float32 whatever the base is held in."""
        return []

    # ------------------------------------------------------------------ images and regions

    @abstractmethod
    def encode(
        self, mllm: Any, pixel_values: Tensor, grids: Sequence[tuple[int, int]] | None = None
    ) -> Tensor:
        """Features ``[tiles, tokens, C]`` of tiles ``[tiles, 3, S, S]``, before the projector.

        Args:
            mllm: The native model.
            pixel_values: Normalised.
            grids: Rows and columns of each image's cells, where images are taken whole.
        """

    @abstractmethod
    def image_tokens(self, mllm: Any, features: Tensor, grid: tuple[int, int] | None = None) -> Piece:
        """The tokens of one image, from its features.

        Args:
            mllm: The native model.
            features: The image's, from :meth:`encode`.
            grid: Its rows and columns of cells, where images are taken whole.
        """

    @abstractmethod
    def region_tokens(self, image: Piece, cells: Tensor) -> Piece:
        """The tokens that show a region in a prompt.

        Args:
            image: From :meth:`image_tokens`.
            cells: ``[g, g]`` bool, the region on the grid that visual prompts are marked on.
        """


def _has(config: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(config, dict) or config.get(key) is None:
            return False
        config = config[key]
    return True
