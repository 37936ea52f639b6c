"""Qwen2 and Qwen2.5: Sa2VA-1B and -4B, and those on InternVL3."""

from transformers import PretrainedConfig, Qwen2Config

from .language_model import NATIVE, LanguageModel

_LAYER, _NATIVE_LAYER = 'language_model.model.layers.{n}.', NATIVE + 'layers.{n}.'


class Qwen2(LanguageModel):
    """Released under the names that transformers has."""

    name = 'Qwen2'
    architecture = 'Qwen2ForCausalLM'
    renamed = [
        ('language_model.model.embed_tokens.weight', NATIVE + 'embed_tokens.weight'),
        ('language_model.model.norm.weight', NATIVE + 'norm.weight'),
        ('language_model.lm_head.weight', 'mllm.lm_head.weight'),
        (_LAYER + '{w}_layernorm.weight', _NATIVE_LAYER + '{w}_layernorm.weight'),
        (_LAYER + 'self_attn.{w}_proj.{s}', _NATIVE_LAYER + 'self_attn.{w}_proj.{s}'),
        (_LAYER + 'mlp.{w}_proj.weight', _NATIVE_LAYER + 'mlp.{w}_proj.weight'),
    ]
    lora_targets = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

    def native_config(self) -> PretrainedConfig:
        """The released values are Qwen2's own."""
        return Qwen2Config(**{key: value for key, value in self.config.items() if key != 'torch_dtype'})
