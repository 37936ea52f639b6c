"""Which backbone a checkpoint has, by its ``config.json``."""

from typing import Any

from .backbone import Backbone
from .internvl import InternVL
from .language_models import LANGUAGE_MODELS
from .qwen2_5_vl import Qwen25VL
from .qwen3_vl import Qwen3VL
from .qwen_vl import QwenVL

#: By ``text_config.model_type``.
_QWEN: dict[str, type[QwenVL]] = {'qwen2_5_vl_text': Qwen25VL, 'qwen3_vl_text': Qwen3VL}
#: Names that are told of what is not supported, by the class in ``architectures``.
_KNOWN = {'Sa2VAChatModelQwen': 'Qwen-VL of an unknown kind (text_config.model_type)'}


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
    llm, text = config.get('llm_config'), config.get('text_config')
    qwen = _QWEN.get(str(text.get('model_type'))) if isinstance(text, dict) else None
    if qwen is not None and llm is None:
        return qwen(config, where)
    if not isinstance(llm, dict):
        raise _refusal(where, _family_without_llm_config(config))
    architecture = (llm.get('architectures') or ['a language model without "architectures"'])[0]
    if architecture not in LANGUAGE_MODELS:
        raise _refusal(where, f'InternVL on {architecture}')
    return InternVL(config, where)


def supported_families() -> list[str]:
    """Names of the families that can be loaded."""
    on_internvl = [f'InternVL on {kind.name}' for kind in LANGUAGE_MODELS.values()]
    return [*on_internvl, *(kind.family for kind in _QWEN.values())]


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
