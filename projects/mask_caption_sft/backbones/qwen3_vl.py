"""Qwen3-VL: Sa2VA-Qwen3-VL-2B and -4B."""

from typing import Any, ClassVar

from torch import nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from ..ops.pixels import Channels
from .qwen_vl import COMMON, QwenVL

_VIT, _BLOCK = 'model.visual.', 'model.visual.blocks.{n}.'


class Qwen3VL(QwenVL):
    """The language model sees an image in its first layers too (deepstack), in features of other ViT layers.

    Queries and keys are normalised head by head; q, k and v have no bias.
    """

    family = 'Qwen3-VL'
    pixel_stats: ClassVar[tuple[Channels, Channels]] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    names: ClassVar[list[str]] = [
        *COMMON,
        'model.language_model.layers.{n}.self_attn.{w}_norm.weight',
        _VIT + 'patch_embed.proj.{s}',
        _VIT + 'pos_embed.weight',
        _BLOCK + 'norm{n}.{s}',
        _BLOCK + 'attn.{w}.{s}',
        _BLOCK + 'mlp.linear_fc{n}.{s}',
        _VIT + 'merger.norm.{s}',
        _VIT + 'merger.linear_fc{n}.{s}',
        _VIT + 'deepstack_merger_list.{n}.norm.{s}',
        _VIT + 'deepstack_merger_list.{n}.linear_fc{n}.{s}',
    ]
    _vision_needed = (
        'depth', 'hidden_size', 'intermediate_size', 'num_heads', 'patch_size', 'out_hidden_size',
        'num_position_embeddings', 'deepstack_visual_indexes',
    )  # fmt: skip

    def _check(self) -> None:
        super()._check()
        layers, stated = self._vision['depth'], self._vision['deepstack_visual_indexes']
        if not all(0 <= layer < layers for layer in stated):
            raise ValueError(
                f'{self.where} has deepstack_visual_indexes {stated}, but a ViT of {layers} layers. Use the '
                'config.json of the released checkpoint.'
            )

    def _native(self, image_token_id: int) -> Any:
        return Qwen3VLForConditionalGeneration(
            Qwen3VLConfig(
                text_config=self._stated('text_config') | dict(tie_word_embeddings=self.is_tied),
                vision_config=self._stated('vision_config'),
                image_token_id=image_token_id,
                tie_word_embeddings=self.is_tied,
            )
        )

    def _mergers(self, mllm: Any) -> list[nn.Module]:
        return [mllm.model.visual.merger, *mllm.model.visual.deepstack_merger_list]

    def exact_modules(self, mllm: Any) -> list[nn.Module]:
        """The position embeddings are mixed, outside autocast, in the type that they are held in."""
        return [mllm.model.visual.pos_embed]
