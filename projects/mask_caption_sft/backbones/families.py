"""Which backbone a checkpoint has, by its ``config.json``."""

from typing import Any

from .backbone import Backbone
from .internvl import InternVL
from .language_models import LANGUAGE_MODELS


def backbone_of(config: dict[str, Any], where: str = 'config.json') -> Backbone:
    """The backbone of a checkpoint.

    ``model_type`` is ``sa2va_chat`` for all of them. A config of InternVL has its language model under
    ``llm_config``, the Qwen-VL ones have theirs under ``text_config``.

    Args:
        config: Content of ``config.json``.
        where: Names the file in messages.

    Raises:
        ValueError: The family is not supported; the message names it, and those that are.
    """
    if 'llm_config' not in config:
        raise _refusal(where, _family_of(config))
    architecture = (config['llm_config'].get('architectures') or ['an unnamed language model'])[0]
    if architecture not in LANGUAGE_MODELS:
        raise _refusal(where, f'InternVL on {architecture}')
    return InternVL(config, where)


def supported_families() -> list[str]:
    """Names of the families that can be loaded."""
    return [f'InternVL on {kind.name}' for kind in LANGUAGE_MODELS.values()]


def _family_of(config: dict[str, Any]) -> str:
    """The best name for a checkpoint that is not InternVL's."""
    inner = config.get('text_config', {})
    return inner.get('model_type') or (config.get('architectures') or ['an unnamed model'])[0]


def _refusal(where: str, family: str) -> ValueError:
    return ValueError(
        f'{where} is of the family {family}, which is not supported. Supported are: '
        f'{", ".join(supported_families())}.'
    )
