"""The README.md of an exported model."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ('torch', 'transformers', 'peft', 'mmengine', 'xtuner', 'safetensors')


def model_card(checkpoint: dict[str, Any], checkpoint_path: str, base: str, side: str, changes: str) -> str:
    """Base, data, steps, final losses and metrics, config, versions, and the licence of the base.

    Args:
        checkpoint: Content of the training checkpoint.
        checkpoint_path: Path of that checkpoint.
        base: The base directory.
        side: ``'student'`` or ``'teacher'``.
        changes: The table of what differs from the base.
    """
    meta = checkpoint.get('meta', {})
    own = meta.get('sa2va', {})
    licence = _licence(Path(base))
    parts = [
        f'---\nlicense: {licence}\nbase_model: {base}\ntags: [sa2va, mask_caption_sft]\n---\n',
        f'# {Path(checkpoint_path).parent.name}, {side}\n',
        f'Fine-tuned from `{base}` with mask_caption_sft; checkpoint `{checkpoint_path}`, '
        f'iteration {meta.get("iter", "unknown")}. The licence of the base applies: {licence}.\n',
    ]
    parts += _block('What differs from the base', changes)
    parts += _block('Training data', own.get('data', ''))
    parts += _block('Losses and metrics at the end', _last_values(checkpoint))
    parts += _block('Versions', '\n'.join(f'{name} {_version(name)}' for name in _PACKAGES))
    parts += _block('Config', str(meta.get('cfg', '')).strip(), 'python')
    return '\n'.join(parts)


def _block(title: str, text: str, language: str = '') -> list[str]:
    return [f'## {title}\n', f'```{language}\n{text}\n```\n'] if text else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'


def _licence(base: Path) -> str:
    readme = base / 'README.md'
    found = re.search(r'^license:\s*(\S+)', readme.read_text(), re.MULTILINE) if readme.is_file() else None
    return found.group(1) if found else 'unknown (the base directory names none)'


def _last_values(checkpoint: dict[str, Any]) -> str:
    scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
    lines = []
    for name, buffer in sorted(scalars.items()):
        values = buffer['log_history'] if isinstance(buffer, dict) else []
        if values and re.match(r'(train/(.*/)?loss|val/)', name):
            recent = values[-10:] if name.startswith('train/') else values[-1:]
            lines.append(f'{name:<40}{sum(recent) / len(recent):>10.4f}')
    return '\n'.join(lines)
