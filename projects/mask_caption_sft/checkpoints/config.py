"""``config.json`` of a released Sa2VA checkpoint."""

import json
from pathlib import Path
from typing import Any


def read_config(base: str | Path) -> dict[str, Any]:
    """Content of ``config.json`` of a released checkpoint, checked.

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
    config = json.loads(path.read_text())
    check_config(config, str(path))
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
    llm = config['llm_config'].get('architectures', ['none'])[0]
    if llm != 'Qwen2ForCausalLM':
        raise ValueError(
            f'{where} uses the language model {llm}; only Qwen2ForCausalLM is supported '
            '(Sa2VA-1B, -4B and the InternVL2.5/3 variants on Qwen2.5).'
        )
    if config['vision_config'].get('qk_normalization'):
        raise ValueError(
            f'{where} has a vision encoder with qk_normalization (InternViT-6B), which has no entry '
            'in checkpoints/key_map.py. Use a checkpoint with InternViT-300M.'
        )
    if config.get('ps_version', 'v2') != 'v2' or config.get('select_layer', -1) != -1:
        raise ValueError(f'{where}: only ps_version "v2" and select_layer -1 are supported.')
    if not config.get('use_thumbnail', True):
        raise ValueError(
            f'{where}: use_thumbnail is false, but visual prompts are read from the thumbnail. '
            'Use a checkpoint with thumbnails, as every released Sa2VA is.'
        )
