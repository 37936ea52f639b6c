"""Tiny random checkpoints of the Qwen-VL families, in the released layout."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import initialized, tiny_config, write_base
from projects.mask_caption_sft.tiny_world.qwen_base import qwen_tokenizer
from tests.miniature import SIZES

#: Side of a cell in pixels: two patches of four.
CELL = 8
_VISION = dict(
    depth=3, hidden_size=32, intermediate_size=64, num_heads=4, in_channels=3, patch_size=CELL // 2,
    spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=32,
)  # fmt: skip
_TEXT = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=2048, rms_norm_eps=1e-6, hidden_act='silu', tie_word_embeddings=False,
)  # fmt: skip
QWEN: dict[str, dict[str, Any]] = {
    'qwen3-vl': dict(
        text_config=dict(
            _TEXT, model_type='qwen3_vl_text', head_dim=12, attention_bias=False, rope_theta=1e4,
            rope_scaling=dict(rope_type='default', mrope_section=[2, 2, 2], mrope_interleaved=True),
        ),
        vision_config=dict(
            _VISION, model_type='qwen3_vl', hidden_act='gelu_pytorch_tanh', num_position_embeddings=16,
            deepstack_visual_indexes=[0, 1],
        ),
    ),
    'qwen2.5-vl': dict(
        text_config=dict(
            _TEXT, model_type='qwen2_5_vl_text', rope_theta=1e4,
            rope_scaling=dict(type='mrope', mrope_section=[2, 1, 1]),
        ),
        vision_config=dict(
            _VISION, model_type='qwen2_5_vl', hidden_act='silu', window_size=2 * CELL,
            fullatt_block_indexes=[1],
        ),
    ),
}  # fmt: skip


def qwen_config(family: str, vocab_size: int = 600) -> dict[str, Any]:
    """Its ``config.json``: what upstream's own configuration class writes, and a small SAM 2."""
    config = deepcopy(QWEN[family])
    config['text_config']['vocab_size'] = vocab_size
    return config | dict(
        architectures=['Sa2VAChatModelQwen'],
        auto_map={'AutoConfig': 'configuration_sa2va_chat.Sa2VAChatConfigQwen'},
        model_type='sa2va_chat',
        template='qwen_chat',
        dtype='float32',
        tie_word_embeddings=False,
        tiny_sam2=tiny_config(vocab_size, SIZES)['tiny_sam2'],
    )


def write_qwen_base(family: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """A checkpoint of one of ``QWEN``."""
    write_base(new_qwen(family, seed), folder, dtype)
    return folder


def new_qwen(family: str, seed: int = 0, **kwargs: Any) -> Sa2VA:
    """The model; no weight has a neutral value."""
    tokenizer = qwen_tokenizer()
    model = initialized(qwen_config(family, len(tokenizer)), tokenizer, seed, **kwargs)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and 'lora_' not in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif 'embed_tokens' in name:
                parameter.mul_(5)  # as large as image tokens, so that words matter
    model.remember_start()
    return model
