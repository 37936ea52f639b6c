"""Which backbone a checkpoint has, by its ``config.json``."""

from typing import Any

from .backbone import Backbone
from .internvl import InternVL
from .language_models import LANGUAGE_MODELS

#: Names of families that are told but not supported, by ``text_config.model_type`` or ``architectures``.
_KNOWN = {
    'qwen2_5_vl_text': 'Qwen2.5-VL',
    'qwen2_5_vl': 'Qwen2.5-VL',
    'qwen3_vl_text': 'Qwen3-VL',
    'qwen3_vl': 'Qwen3-VL',
    'Sa2VAChatModelQwen': 'Qwen-VL',
}


def backbone_of(config: dict[str, Any], where: str = 'config.json') -> Backbone:
    """The backbone of a checkpoint.

    ``model_type`` is ``sa2va_chat`` for all of them. A config of InternVL has its language model under
    ``llm_config``, the Qwen-VL ones have theirs under ``text_config``.

    Args:
        config: Content of ``config.json``.
        where: Names the file in messages.

    Raises:
        ValueError: The family is not supported; the message names it, and those that are. Or a field is
            missing, or has a value that is not supported.
    """
    llm = config.get('llm_config')
    if not isinstance(llm, dict):
        raise _refusal(where, _family_without_llm_config(config))
    architecture = (llm.get('architectures') or ['a language model without "architectures"'])[0]
    if architecture not in LANGUAGE_MODELS:
        raise _refusal(where, f'InternVL on {architecture}')
    return InternVL(config, where)


def supported_families() -> list[str]:
    """Names of the families that can be loaded."""
    return [f'InternVL on {kind.name}' for kind in LANGUAGE_MODELS.values()]


def _family_without_llm_config(config: dict[str, Any]) -> str:
    """The best name there is: by ``text_config``, the class of the model, or the file that has its code."""
    text = config.get('text_config')
    stated = [
        text.get('model_type') if isinstance(text, dict) else None,
        *(config.get('architectures') or []),
        *(config.get('auto_map') or {}).values(),
    ]
    names = [name for name in stated if isinstance(name, str)]
    known = [_KNOWN[name] for name in names if name in _KNOWN]
    return (known or names or ['unknown (neither llm_config, text_config nor architectures)'])[0]


def _refusal(where: str, family: str) -> ValueError:
    return ValueError(
        f'{where} is of the family {family}, which is not supported. Supported are: '
        f'{", ".join(supported_families())}.'
    )
