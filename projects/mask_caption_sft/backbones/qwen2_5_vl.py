"""Qwen2.5-VL: Sa2VA-Qwen2_5-VL-3B and -7B."""

from typing import Any, ClassVar

from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from ..ops.pixels import Channels
from .qwen_vl import COMMON, QwenVL

_VIT, _BLOCK = 'model.visual.', 'model.visual.blocks.{n}.'


class Qwen25VL(QwenVL):
    """Most layers of the ViT look within windows.

    Its chat template begins every conversation with a system turn, also in upstream's inference.
    """

    family = 'Qwen2.5-VL'
    system: ClassVar[str | None] = 'You are a helpful assistant.'
    #: CLIP's.
    pixel_stats: ClassVar[tuple[Channels, Channels]] = (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    )
    names: ClassVar[list[str]] = [
        *COMMON,
        _VIT + 'patch_embed.proj.weight',
        _BLOCK + 'norm{n}.weight',
        _BLOCK + 'attn.{w}.{s}',
        _BLOCK + 'mlp.{w}_proj.{s}',
        _VIT + 'merger.ln_q.weight',
        _VIT + 'merger.mlp.{n}.{s}',
    ]
    _vision_needed = (
        'depth', 'hidden_size', 'intermediate_size', 'num_heads', 'patch_size', 'out_hidden_size',
        'window_size', 'fullatt_block_indexes',
    )  # fmt: skip

    def _native(self, image_token_id: int) -> Any:
        return Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(
                text_config=self._stated('text_config') | dict(tie_word_embeddings=self.is_tied),
                vision_config=self._stated('vision_config'),
                image_token_id=image_token_id,
                tie_word_embeddings=self.is_tied,
            )
        )

    def _mergers(self, mllm: Any) -> list[nn.Module]:
        return [mllm.model.visual.merger]
