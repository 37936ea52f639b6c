"""What differs between the language models behind InternVL's vision encoder."""

from abc import ABC, abstractmethod
from typing import Any

from transformers import PretrainedConfig

from ..key_rows import Fused

#: Where the native model has its language model, and a layer of it.
NATIVE = 'mllm.model.language_model.'
NATIVE_LAYER = NATIVE + 'layers.{n}.'
LAYER = 'language_model.model.layers.{n}.'
#: Rows of those that are released under the names that transformers has.
SAME_NAMES = [
    ('language_model.model.embed_tokens.weight', NATIVE + 'embed_tokens.weight'),
    ('language_model.model.norm.weight', NATIVE + 'norm.weight'),
    ('language_model.lm_head.weight', 'mllm.lm_head.weight'),
    (LAYER + '{w}_layernorm.weight', NATIVE_LAYER + '{w}_layernorm.weight'),
    (LAYER + 'self_attn.{w}_proj.{s}', NATIVE_LAYER + 'self_attn.{w}_proj.{s}'),
    (LAYER + 'mlp.{w}_proj.weight', NATIVE_LAYER + 'mlp.{w}_proj.weight'),
]
#: The linear modules of a layer, where each is one.
SEVEN_MATRICES = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']


class LanguageModel(ABC):
    """How a language model is built natively, and how its tensors are called.

    Attributes:
        name: In messages and tables.
        architecture: Its class in ``llm_config.architectures``.
        renamed, lora_targets, released_lora_targets: See :class:`Backbone`.
        needed: Keys that ``llm_config`` must have.
        config: ``llm_config``.
    """

    name: str
    architecture: str
    renamed: list[tuple[str, str]] = SAME_NAMES
    lora_targets: list[str] = SEVEN_MATRICES
    released_lora_targets: list[str] = SEVEN_MATRICES
    needed: tuple[str, ...] = (
        'vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
        'num_key_value_heads', 'max_position_embeddings',
    )  # fmt: skip

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @property
    def fused(self) -> list[Fused]:
        """Released tensors that are several native ones."""
        return []

    @property
    def max_context(self) -> int:
        """The longest sequence of tokens that it takes."""
        return self.config['max_position_embeddings']

    @abstractmethod
    def native_config(self) -> PretrainedConfig:
        """For transformers' own class."""

    def _released_values(self) -> dict[str, Any]:
        """What ``llm_config`` states, for a native config whose names it has."""
        return {key: value for key, value in self.config.items() if key not in ('torch_dtype', 'auto_map')}
