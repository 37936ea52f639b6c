"""Qwen3, which InternVL3.5 has."""

from transformers import PretrainedConfig, Qwen3Config

from .language_model import LAYER, NATIVE_LAYER, SAME_NAMES, LanguageModel


class Qwen3(LanguageModel):
    """Queries and keys are normalised head by head; q, k and v have no bias."""

    name = 'Qwen3'
    architecture = 'Qwen3ForCausalLM'
    renamed = [
        *SAME_NAMES,
        (LAYER + 'self_attn.{w}_norm.weight', NATIVE_LAYER + 'self_attn.{w}_norm.weight'),
    ]

    def native_config(self) -> PretrainedConfig:
        """The released values are Qwen3's own."""
        return Qwen3Config(**self._released_values())
