"""``config.json`` of a released Sa2VA checkpoint."""

import json
from pathlib import Path
from typing import Any

from ..backbones import backbone_of
from ..grounding import grounding_kind_of, state_grounding_kind
from .config_values import check_values
from .released import tensor_names


def read_config(base: str | Path) -> dict[str, Any]:
    """Content of ``config.json`` of a released checkpoint, checked.

    Upstream's does not say which grounding encoder there is. Where the names of the tensors do, the content
    has it as ``"grounding_encoder"``.

    Raises:
        FileNotFoundError: No such directory or file.
        ValueError: Not a Sa2VA checkpoint, or a variant that is not supported.
    """
    path = Path(base) / 'config.json'
    if not path.is_file():
        raise FileNotFoundError(
            f'{path} is missing. Set `base` (config key model.sa2va.base) to a directory in the '
            'released Sa2VA layout: config.json, *.safetensors and the tokenizer files.'
        )
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}). Download it again.') from error
    if not isinstance(config, dict):
        raise ValueError(f'{path} holds a {type(config).__name__}, not the settings of a Sa2VA.')
    check_config(config, str(path))
    state_grounding_kind(config, tensor_names(base))
    return config


def check_config(config: dict[str, Any], where: str) -> None:
    """Raise ``ValueError`` for a checkpoint that is not a supported Sa2VA.

    Args:
        config: Content of ``config.json``.
        where: Names the file in the message.
    """
    model_type = config.get('model_type')
    if model_type != 'sa2va_chat':
        raise ValueError(
            f'{where} has model_type {model_type!r}, not "sa2va_chat". Point `base` at a directory in '
            "Sa2VA's released layout (config.json, safetensors, tokenizer files)."
        )
    check_values(config, where)
    backbone_of(config, where)
    grounding_kind_of(config, where)
