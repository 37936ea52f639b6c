"""The language models behind InternVL's vision encoder, one file each."""

from .internlm2 import InternLM2
from .language_model import LanguageModel
from .phi3 import Phi3
from .qwen2 import Qwen2
from .qwen3 import Qwen3

#: By ``llm_config.architectures[0]``.
LANGUAGE_MODELS: dict[str, type[LanguageModel]] = {
    kind.architecture: kind for kind in (Qwen2, Qwen3, InternLM2, Phi3)
}

__all__ = ['LANGUAGE_MODELS', 'LanguageModel']
