"""InternVL: InternViT, a projector of two layers, and one of several language models.

Source: upstream Sa2VA ``hf/models/modeling_sa2va_chat.py``.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLVisionConfig

from ..ops import prompts
from ..structures import Piece
from .backbone import Backbone
from .key_rows import Fused
from .language_models import LANGUAGE_MODELS

_VIT, _NATIVE_VIT = 'vision_model.', 'mllm.model.vision_tower.'
_LAYER, _NATIVE_LAYER = _VIT + 'encoder.layers.{n}.', _NATIVE_VIT + 'encoder.layer.{n}.'
_PROJECTOR = 'mllm.model.multi_modal_projector.'


class InternVL(Backbone):
    """An image is one or more tiles of a fixed size, the last of which shows it whole.

    Attributes:
        language: Of ``LANGUAGE_MODELS``.
    """

    image_start, image_token, image_end = prompts.IMG_START, prompts.IMG_CONTEXT, prompts.IMG_END

    def __init__(self, config: dict[str, Any], where: str) -> None:
        super().__init__(config, where)
        self.language = LANGUAGE_MODELS[config['llm_config']['architectures'][0]](config['llm_config'])
        self.family = f'InternVL on {self.language.name}'
        self._need(*_NEEDED, *(f'llm_config.{key}' for key in self.language.needed))
        self.renamed = _RENAMED + self.language.renamed
        self.fused = _FUSED + self.language.fused
        self.lora_targets = self.language.lora_targets
        self.released_lora_targets = self.language.released_lora_targets
        self._check()

    def _check(self) -> None:
        for key, expected in (('ps_version', 'v2'), ('select_layer', -1)):
            found = self.config.get(key, expected)
            if found != expected:
                raise ValueError(
                    f'{self.where} has {key} {found!r}; only {expected!r} is supported, which every released '
                    'Sa2VA has.'
                )
        if not self.config.get('use_thumbnail', True):
            raise ValueError(
                f'{self.where}: use_thumbnail is false, but visual prompts are read from the thumbnail. '
                'Use a checkpoint with thumbnails, as every released Sa2VA is.'
            )

    # ------------------------------------------------------------------ what the config says

    @property
    def language_config(self) -> dict[str, Any]:
        """``llm_config``."""
        return self.config['llm_config']

    @property
    def image_size(self) -> int:
        """``force_image_size``."""
        return self.config['force_image_size']

    @property
    def grid_size(self) -> int:
        """Patches per side of a tile, times ``downsample_ratio``."""
        patch, ratio = self.config['vision_config']['patch_size'], self.config['downsample_ratio']
        grid_size = self.image_size / patch * ratio
        if self.image_size % patch or grid_size != int(grid_size):
            raise ValueError(
                f'force_image_size={self.image_size} does not divide into patches of {patch} and image '
                f'tokens of {1 / ratio:g} x {1 / ratio:g} patches. Use a config.json as it was released.'
            )
        return int(grid_size)

    @property
    def max_context(self) -> int:
        """The language model's."""
        return self.language.max_context

    # ------------------------------------------------------------------ the native model

    def build(self, image_token_id: int) -> InternVLForConditionalGeneration:
        """InternVL with the config's InternViT and language model."""
        model = InternVLForConditionalGeneration(
            InternVLConfig(
                vision_config=self._vision_config(),
                text_config=self.language.native_config(),
                image_token_id=image_token_id,
                image_seq_length=self.grid_size**2,
                downsample_ratio=self.config['downsample_ratio'],
                # transformers 5 ties by this value, whose default is True; 4.57 by text_config's.
                tie_word_embeddings=self.is_tied,
            )
        )
        for name, module in model.model.vision_tower.named_modules():
            if name.endswith(('q_norm', 'k_norm')):
                # The native class has a value of its own, and Identity where there is no such norm.
                module.variance_epsilon = self.config['vision_config']['layer_norm_eps']
        return model

    def _vision_config(self) -> InternVLVisionConfig:
        vision = self.config['vision_config']
        return InternVLVisionConfig(
            hidden_size=vision['hidden_size'],
            num_hidden_layers=vision['num_hidden_layers'],
            num_attention_heads=vision['num_attention_heads'],
            intermediate_size=vision['intermediate_size'],
            attention_bias=vision['qkv_bias'],
            use_qk_norm=vision.get('qk_normalization', False),
            hidden_act=vision['hidden_act'],
            norm_type=vision['norm_type'],
            layer_norm_eps=vision['layer_norm_eps'],
            image_size=[self.image_size] * 2,
            patch_size=[vision['patch_size']] * 2,
        )

    def projector(self, mllm: Any) -> nn.Module:
        """Upstream's ``mlp1``."""
        return mllm.model.multi_modal_projector

    def vision_encoder(self, mllm: Any) -> nn.Module:
        """InternViT."""
        return mllm.model.vision_tower

    # ------------------------------------------------------------------ images and regions

    def encode(
        self, mllm: Any, pixel_values: Tensor, grids: Sequence[tuple[int, int]] | None = None
    ) -> Tensor:
        """InternViT's features, CLS dropped, pixel-shuffled: ``[tiles, g * g, 4 C]``."""
        hidden = mllm.model.vision_tower(pixel_values=pixel_values.to(mllm.dtype)).last_hidden_state[:, 1:]
        side = int(hidden.shape[1] ** 0.5)
        hidden = hidden.reshape(len(hidden), side, side, hidden.shape[-1])
        return mllm.model.pixel_shuffle(hidden, self.config['downsample_ratio']).flatten(1, 2)

    def image_tokens(self, mllm: Any, features: Tensor, grid: tuple[int, int] | None = None) -> Piece:
        """Projected tile by tile; in the prompt they follow each other."""
        return Piece(self.projector(mllm)(features).flatten(0, 1))

    def region_tokens(self, image: Piece, cells: Tensor) -> Piece:
        """The marked tokens of the last tile: the thumbnail, or the only one."""
        marks = cells.flatten()
        return Piece(image.embeds[-len(marks) :][marks])


_NEEDED = [
    'force_image_size',
    'downsample_ratio',
    *(
        f'vision_config.{key}'
        for key in (
            'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'intermediate_size', 'patch_size',
            'hidden_act', 'norm_type', 'layer_norm_eps', 'qkv_bias',
        )
    ),
]  # fmt: skip

_RENAMED = [
    (_VIT + 'embeddings.class_embedding', _NATIVE_VIT + 'embeddings.cls_token'),
    (_VIT + 'embeddings.position_embedding', _NATIVE_VIT + 'embeddings.position_embeddings'),
    (_VIT + 'embeddings.patch_embedding.{s}', _NATIVE_VIT + 'embeddings.patch_embeddings.projection.{s}'),
    (_LAYER + 'ls{n}', _NATIVE_LAYER + 'lambda_{n}'),
    (_LAYER + 'attn.{w}_norm.weight', _NATIVE_LAYER + 'attention.{w}_norm.weight'),
    (_LAYER + 'attn.proj.{s}', _NATIVE_LAYER + 'attention.projection_layer.{s}'),
    (_LAYER + 'mlp.fc{n}.{s}', _NATIVE_LAYER + 'mlp.fc{n}.{s}'),
    (_LAYER + 'norm1.{s}', _NATIVE_LAYER + 'layernorm_before.{s}'),
    (_LAYER + 'norm2.{s}', _NATIVE_LAYER + 'layernorm_after.{s}'),
    ('mlp1.0.{s}', _PROJECTOR + 'layer_norm.{s}'),
    ('mlp1.1.{s}', _PROJECTOR + 'linear_1.{s}'),
    ('mlp1.3.{s}', _PROJECTOR + 'linear_2.{s}'),
]

_FUSED = [
    Fused(_LAYER + 'attn.qkv.{s}', tuple(f'{_NATIVE_LAYER}attention.{part}_proj.{{s}}' for part in 'qkv')),
]
