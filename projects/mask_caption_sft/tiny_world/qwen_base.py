"""A small Sa2VA on Qwen3-VL in the released layout: the tiny world's other base."""

import math
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerFast

from ..ops import prompts
from ..sa2va.sa2va import Sa2VA
from .base_model import initialized, tiny_config, tiny_tokenizer

WIDTH = 160


def tiny_qwen3_vl_config(vocab_size: int) -> dict[str, Any]:
    """Its ``config.json``, with the SAM 2 of the tiny base on InternVL.

    Args:
        vocab_size: Size of the tokenizer's vocabulary.
    """
    return dict(
        architectures=['Sa2VAChatModelQwen'],
        model_type='sa2va_chat',
        template='qwen_chat',
        dtype='float32',
        tie_word_embeddings=False,
        # An image of the tiny world stays as it is, in training too: 36 to 48 tokens.
        min_pixels=32 * 32,
        max_pixels=64 * 32 * 32,
        text_config=dict(
            model_type='qwen3_vl_text', vocab_size=vocab_size, hidden_size=WIDTH, intermediate_size=2 * WIDTH,
            num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=40,
            max_position_embeddings=2048, rms_norm_eps=1e-6, hidden_act='silu', attention_bias=False,
            rope_theta=1e4, tie_word_embeddings=False,
            rope_scaling=dict(rope_type='default', mrope_section=[8, 6, 6], mrope_interleaved=True),
        ),
        vision_config=dict(
            model_type='qwen3_vl', depth=3, hidden_size=96, intermediate_size=192, num_heads=4, in_channels=3,
            patch_size=16, spatial_merge_size=2, temporal_patch_size=2, out_hidden_size=WIDTH,
            hidden_act='gelu_pytorch_tanh', num_position_embeddings=144, deepstack_visual_indexes=[0, 1],
        ),
        tiny_sam2=tiny_config(vocab_size, dict(grounding_width=128))['tiny_sam2'],
    )  # fmt: skip


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """The tiny world's, with Qwen-VL's marks of an image."""
    return tiny_tokenizer(also=(prompts.VISION_START, prompts.IMAGE_PAD, prompts.VISION_END))


def new_qwen3_vl(seed: int = 0, grounding_from: str | Path | None = None, **kwargs: Any) -> Sa2VA:
    """A small Sa2VA on Qwen3-VL with Xavier-initialised weights; ``kwargs`` go to :class:`Sa2VA`.

    Args:
        seed: Seed of the weights.
        grounding_from: A base whose SAM 2 it starts with, as upstream starts all its models with one.
    """
    tokenizer = qwen_tokenizer()
    model = initialized(tiny_qwen3_vl_config(len(tokenizer)), tokenizer, seed, **kwargs)
    patches = model.mllm.model.visual.patch_embed.proj.weight
    nn.init.normal_(patches, std=1 / math.sqrt(patches[0].numel()))
    if grounding_from is not None:
        grounding = Sa2VA(grounding_from).grounding_encoder
        model.grounding_encoder.load_state_dict(grounding.state_dict())
    model.remember_start()
    return model
