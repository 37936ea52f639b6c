"""The language models behind InternVL's vision encoder, one file each."""

from .language_model import LanguageModel
from .qwen2 import Qwen2

#: By ``llm_config.architectures[0]``.
LANGUAGE_MODELS: dict[str, type[LanguageModel]] = {kind.architecture: kind for kind in (Qwen2,)}

__all__ = ['LANGUAGE_MODELS', 'LanguageModel']
