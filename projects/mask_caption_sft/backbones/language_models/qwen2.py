"""Qwen2 and Qwen2.5: Sa2VA-1B and -4B, and those on InternVL3."""

from transformers import PretrainedConfig, Qwen2Config

from .language_model import LanguageModel


class Qwen2(LanguageModel):
    """Released as transformers has it."""

    name = 'Qwen2'
    architecture = 'Qwen2ForCausalLM'

    def native_config(self) -> PretrainedConfig:
        """The released values are Qwen2's own."""
        return Qwen2Config(**self._released_values())
