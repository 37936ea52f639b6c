"""What Qwen2.5-VL and Qwen3-VL have in common.

An image is taken whole. Each token stands for a cell of two by two patches, and has a position along three
axes: time, row and column.

Source: transformers' ``qwen2_5_vl`` and ``qwen3_vl``; upstream Sa2VA ``hf/models_qwen*``.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..ops import prompts
from ..ops.precision import at_least_float32
from ..structures import Piece
from .backbone import Backbone
from .key_rows import Fused
from .language_models.language_model import SEVEN_MATRICES

#: In the release the native model is the attribute ``model`` of Sa2VA; here it is ``mllm``.
RELEASED, NATIVE = 'model.', 'mllm.'
_LLM, _LAYER = 'model.language_model.', 'model.language_model.layers.{n}.'
#: Names within the native model that both have.
COMMON = [
    'lm_head.weight',
    _LLM + 'embed_tokens.weight',
    _LLM + 'norm.weight',
    _LAYER + '{w}_layernorm.weight',
    _LAYER + 'self_attn.{w}_proj.{s}',
    _LAYER + 'mlp.{w}_proj.weight',
]


class QwenVL(Backbone):
    """A language model that turns positions along three axes, behind a ViT for images of any size.

    Attributes:
        names: Names of tensors within the native model, which the release has too.
    """

    image_start, image_token, image_end = prompts.VISION_START, prompts.IMAGE_PAD, prompts.VISION_END
    image_cut: ClassVar[str] = 'cells'
    size_setting: ClassVar[str] = 'max_pixels'
    trainers: ClassVar[tuple[str, ...]] = ('v2',)
    fused: list[Fused] = []
    lora_targets = released_lora_targets = SEVEN_MATRICES
    names: ClassVar[list[str]]
    _vision_needed: ClassVar[tuple[str, ...]]
    _text_needed: ClassVar[tuple[str, ...]] = (
        'vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
        'num_key_value_heads', 'max_position_embeddings',
    )  # fmt: skip

    def __init__(self, config: dict[str, Any], where: str) -> None:
        super().__init__(config, where)
        self.renamed = [(RELEASED + name, NATIVE + name) for name in self.names]
        self._need(
            *(f'text_config.{key}' for key in self._text_needed),
            *(f'vision_config.{key}' for key in self._vision_needed),
        )
        self._check()

    def _check(self) -> None:
        rope = self.language_config.get('rope_scaling') or self.language_config.get('rope_parameters') or {}
        if not rope.get('mrope_section'):
            raise ValueError(
                f'{self.where} is of the family {self.family} and states no mrope_section in '
                'text_config.rope_scaling (or rope_parameters), by which positions turn along three axes. '
                'Use the config.json of the released checkpoint.'
            )
        for key, expected in (('spatial_merge_size', 2), ('temporal_patch_size', 2), ('in_channels', 3)):
            found = self._vision.get(key, expected)
            if found != expected:
                raise ValueError(
                    f'{self.where} has vision_config.{key} {found!r}; only {expected!r} is supported, which '
                    'every released Sa2VA has.'
                )

    # ------------------------------------------------------------------ what the config says

    @property
    def language_config(self) -> dict[str, Any]:
        """``text_config``."""
        return self.config['text_config']

    @property
    def _vision(self) -> dict[str, Any]:
        return self.config['vision_config']

    @property
    def image_size(self) -> int:
        """Side of a cell: two patches."""
        return 2 * self._vision['patch_size']

    @property
    def grid_size(self) -> int:
        """A cell is one token."""
        return 1

    # ------------------------------------------------------------------ the native model

    def build(self, image_token_id: int) -> Any:
        """The native class with the config's ViT and language model."""
        model = self._native(image_token_id)
        # The ViT's residual stream has the type of what it begins with.
        model.model.visual.patch_embed.register_forward_hook(_float32_output)
        return model

    @abstractmethod
    def _native(self, image_token_id: int) -> Any:
        """The native class, randomly initialised."""

    def _stated(self, part: str) -> dict[str, Any]:
        """A part of the config, for a native config whose names it has."""
        own = ('torch_dtype', 'dtype', 'model_type', 'architectures', '_name_or_path')
        # Native configs change what they are given.
        return {key: deepcopy(value) for key, value in self.config[part].items() if key not in own}

    def vision_encoder(self, mllm: Any) -> nn.Module:
        """The ViT, with the mergers."""
        return mllm.model.visual

    @abstractmethod
    def _mergers(self, mllm: Any) -> list[nn.Module]:
        """What makes tokens of a layer's features: of the last layer first."""

    def projector(self, mllm: Any) -> nn.Module:
        """All mergers."""
        return nn.ModuleList(self._mergers(mllm))

    # ------------------------------------------------------------------ images and regions

    def encode(
        self, mllm: Any, pixel_values: Tensor, grids: Sequence[tuple[int, int]] | None = None
    ) -> Tensor:
        """Features before each merger, ``[cells, mergers, 4 C]``, of cells ``[cells, 3, S, S]``."""
        if grids is None or sum(rows * columns for rows, columns in grids) != len(pixel_values):
            raise ValueError(
                f'{len(pixel_values)} cells, but grids={grids}: {self.family} takes images whole and needs '
                'the rows and columns of each.'
            )
        mergers = self._mergers(mllm)
        if not len(pixel_values):
            width = 4 * self._vision['hidden_size']
            return pixel_values.new_zeros(0, len(mergers), width)
        sizes = torch.tensor([[1, 2 * rows, 2 * columns] for rows, columns in grids])
        with _unmerged(mergers):
            output = mllm.model.visual(_patches(pixel_values), grid_thw=sizes.to(pixel_values.device))
        return torch.stack(_as_list(output), dim=1)

    def image_tokens(self, mllm: Any, features: Tensor, grid: tuple[int, int] | None = None) -> Piece:
        """Each token where its cell is; what follows begins behind the longer side."""
        assert grid is not None
        rows, columns = grid
        width = self._vision['hidden_size']
        merged = [
            merger(features[:, number].reshape(-1, width))
            for number, merger in enumerate(self._mergers(mllm))
        ]
        order = torch.arange(rows * columns, device='cpu')
        places = torch.stack([torch.zeros_like(order), order // columns, order % columns])
        image = Piece(merged[0], places, max(rows, columns))
        if len(merged) > 1:
            image.visual, image.deep = torch.ones_like(order, dtype=torch.bool), torch.stack(merged[1:])
        return image

    def region_tokens(self, image: Piece, cells: Tensor) -> Piece:
        """The image once more, of which only the marked cells are there; see docs/backbones.md."""
        assert image.places is not None
        rows, columns = (int(axis.max()) + 1 for axis in image.places[1:])
        return image.chosen(cells[:rows, :columns].flatten())


def _patches(cells: Tensor) -> Tensor:
    """``[4 * cells, 3 * 2 * p * p]``: the four patches of each cell, each in two equal frames."""
    side = cells.shape[-1] // 2
    patches = cells.view(-1, 3, 2, side, 2, side).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 1, side, side)
    return patches.expand(-1, -1, 2, -1, -1).flatten(1)


@contextmanager
def _unmerged(mergers: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, each merger gives what it was given: the features ``[cells, 4 C]`` of whole cells."""
    with ExitStack() as stack:
        for merger in mergers:
            stack.callback(merger.register_forward_hook(_features_of_cells).remove)
        yield


def _features_of_cells(module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    return arguments[0].reshape(len(output), -1)


def _float32_output(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return at_least_float32(output)


def _as_list(output: Any) -> list[Tensor]:
    """The ViT's merged features, of the last layer first; transformers 4.57 and 5 return them otherwise."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, tuple):
        return [output[0], *output[1]]
    return [output.pooler_output, *(getattr(output, 'deepstack_features', None) or [])]
