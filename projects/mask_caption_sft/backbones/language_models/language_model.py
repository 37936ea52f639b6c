"""What differs between the language models behind InternVL's vision encoder."""

from abc import ABC, abstractmethod
from typing import Any

from transformers import PretrainedConfig

from ..key_rows import Fused

#: Where the native model has its language model.
NATIVE = 'mllm.model.language_model.'


class LanguageModel(ABC):
    """How a language model is built natively, and how its tensors are called.

    Attributes:
        name: In messages and tables.
        architecture: Its class in ``llm_config.architectures``.
        renamed, fused, lora_targets, released_lora_targets: See :class:`Backbone`.
    """

    name: str
    architecture: str
    renamed: list[tuple[str, str]]
    lora_targets: list[str]

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @property
    def fused(self) -> list[Fused]:
        """Released tensors that are several native ones."""
        return []

    @property
    def released_lora_targets(self) -> list[str]:
        """Modules that carry LoRA as upstream names them."""
        return self.lora_targets

    @abstractmethod
    def native_config(self) -> PretrainedConfig:
        """For transformers' own class."""
