"""What the released Qwen-VL checkpoints' ``config.json`` say, as far as it decides shapes and prompts.

Source: the configs of Qwen2.5-VL and Qwen3-VL that upstream trains from, with what its conversion changes:
the vocabulary is the tokenizer's with Sa2VA's five tokens, and the output matrix is a matrix of its own. The
one with SAM 3 does not say so: ``read_config`` adds ``grounding_encoder`` from the names of its tensors.
"""

from typing import Any


def _config(text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    shared = dict(hidden_act='silu', rms_norm_eps=1e-6, tie_word_embeddings=False)
    return dict(
        architectures=['Sa2VAChatModelQwen'], model_type='sa2va_chat', dtype='bfloat16', template='qwen_chat',
        tie_word_embeddings=False, text_config=shared | text, vision_config=vision,
    )  # fmt: skip


def _qwen2_5(width: int, inner: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    text = dict(
        model_type='qwen2_5_vl_text', hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, vocab_size=151670,
        max_position_embeddings=128000, rope_theta=1e6,
        rope_scaling=dict(rope_type='default', mrope_section=[16, 24, 24]),
    )  # fmt: skip
    vision = dict(
        model_type='qwen2_5_vl', depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16,
        patch_size=14, out_hidden_size=width, hidden_act='silu', window_size=112,
        fullatt_block_indexes=[7, 15, 23, 31],
    )  # fmt: skip
    return _config(text, vision)


def _qwen3(width: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    text = dict(
        model_type='qwen3_vl_text', hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=8, head_dim=128, vocab_size=151674,
        max_position_embeddings=262144, rope_theta=5e6,
        rope_scaling=dict(rope_type='default', mrope_section=[24, 20, 20], mrope_interleaved=True),
    )  # fmt: skip
    vision = dict(
        model_type='qwen3_vl', depth=24, hidden_size=1024, intermediate_size=4096, num_heads=16,
        patch_size=16, out_hidden_size=width, hidden_act='gelu_pytorch_tanh', num_position_embeddings=2304,
        deepstack_visual_indexes=[5, 11, 17],
    )  # fmt: skip
    return _config(text, vision)


#: By the name of its folder.
RELEASED_QWEN: dict[str, dict[str, Any]] = {
    'Sa2VA-Qwen2_5-VL-3B': _qwen2_5(2048, 11008, 36, 16, 2),
    'Sa2VA-Qwen2_5-VL-7B': _qwen2_5(3584, 18944, 28, 28, 4),
    'Sa2VA-Qwen3-VL-2B': _qwen3(2048, 6144, 28, 16),
    'Sa2VA-Qwen3-VL-4B': _qwen3(2560, 9728, 36, 32),
    'Sa2VA-Qwen3-VL-4B-SAM3': _qwen3(2560, 9728, 36, 32) | dict(grounding_encoder='sam3'),
}
