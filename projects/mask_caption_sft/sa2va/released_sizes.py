"""What the released checkpoints' ``config.json`` say, as far as it decides shapes, types and prompts.

For what is counted or planned where a checkpoint itself is not at hand; one that is there speaks for itself.

Source: ``config.json`` of Sa2VA-4B; sizes of the others from the language models that their names stand for
(Qwen2.5, InternLM2.5) and of InternViT-300M and -6B; those on Qwen-VL are in ``released_qwen.py``. All
but the one named after SAM 3 have SAM 2's hiera-large.
"""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from .released_qwen import RELEASED_QWEN

#: ``config.json`` of the released Sa2VA-4B, as far as it decides shapes and types.
SA2VA_4B = Path(__file__).parent / 'architectures' / 'sa2va_4b.json'


def _qwen2(width: int, inner: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    llm = dict(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads,
    )  # fmt: skip
    return dict(template='qwen_chat', llm_config=llm)


def _internlm2(width: int, inner: int, layers: int, heads: int) -> dict[str, Any]:
    llm = dict(
        architectures=['InternLM2ForCausalLM'], model_type='internlm2', bias=False,
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=8, rms_norm_eps=1e-5,
        rope_scaling=dict(factor=2.0, type='dynamic'), vocab_size=92558,
    )  # fmt: skip
    return dict(template='internlm2_chat', llm_config=llm)


_VIT_6B = dict(
    hidden_size=3200, intermediate_size=12800, num_attention_heads=25, num_hidden_layers=45,
    norm_type='rms_norm', qk_normalization=True, qkv_bias=False,
)  # fmt: skip

#: Those on InternVL by the name of their folder: what differs from Sa2VA-4B.
RELEASED: dict[str, dict[str, Any]] = {
    'Sa2VA-1B': _qwen2(896, 4864, 24, 14, 2),
    'Sa2VA-4B': {},
    'Sa2VA-8B': _internlm2(4096, 14336, 32, 32),
    'Sa2VA-26B': _internlm2(6144, 16384, 48, 48) | dict(vision_config=_VIT_6B),
    'Sa2VA-InternVL3-2B': _qwen2(1536, 8960, 28, 12, 2),
    'Sa2VA-InternVL3-8B': _qwen2(3584, 18944, 28, 28, 4),
    'Sa2VA-InternVL3-14B': _qwen2(5120, 13824, 48, 40, 8),
}


#: Names of all.
NAMES = (*RELEASED, *RELEASED_QWEN)


def released_config(name: str) -> dict[str, Any]:
    """``config.json`` of one of ``NAMES``."""
    if name in RELEASED_QWEN:
        return deepcopy(RELEASED_QWEN[name])
    config = json.loads(SA2VA_4B.read_text())
    for key, value in deepcopy(RELEASED[name]).items():
        if isinstance(value, dict):
            config[key].update(value)
        else:
            config[key] = value
    return config


def stand_in_config(base: str | Path | None) -> dict[str, Any]:
    """``config.json`` of the checkpoint that a folder is named after; of Sa2VA-4B for any other name."""
    return released_config(stand_in_name(base))


def stand_in_name(base: str | Path | None) -> str:
    """The released checkpoint that a folder is named after; Sa2VA-4B for any other name."""
    name = Path(base or '').name
    return name if name in NAMES else 'Sa2VA-4B'
