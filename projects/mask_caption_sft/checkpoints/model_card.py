"""The README.md of an exported model, with the front matter that the Hugging Face Hub reads."""

import math
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .hub_id import hub_id

_PACKAGES = ('torch', 'transformers', 'peft', 'mmengine', 'xtuner', 'safetensors')
_TEMPLATE = Path(__file__).with_name('card.md.j2')
#: Metrics of a validation: its first word -> the Hub's task and what is done.
_TASKS = {
    'ref_seg': ('image-segmentation', 'human expression -> mask'),
    'mask_cycle': ('image-segmentation', "mask -> caption -> mask' in a second view"),
    'region_caption': ('image-to-text', 'mask -> caption'),
}
_COUNTS = ('counted', 'invalid')


def model_card(
    checkpoint: dict[str, Any],
    checkpoint_path: str,
    base: str,
    side: str,
    changes: str,
    is_adapter: bool = False,
    base_model: str | None = None,
    repo: str | None = None,
) -> str:
    """What it is, how to use it, what differs from the base, data, metrics, versions and config.

    Args:
        checkpoint: Content of the training checkpoint.
        checkpoint_path: Path of that checkpoint.
        base: The base directory.
        side: ``'student'`` or ``'teacher'``.
        changes: The table of what differs from the base.
        is_adapter: Whether an adapter is written instead of a whole model.
        base_model: The base's id on the Hub; None looks for it, see :func:`hub_id`.
        repo: Where the export goes on the Hub, for the snippets.
    """
    meta = checkpoint.get('meta', {})
    own = meta.get('sa2va', {})
    name, licence = Path(checkpoint_path).parent.name or Path(checkpoint_path).name, _licence(Path(base))
    known = base_model or hub_id(base)
    blocks = [
        ('What differs from the base', '', changes),
        ('Training data', '', own.get('data', '')),
        ('Losses and metrics at the end', '', _last_losses(checkpoint)),
        ('Versions', '', '\n'.join(f'{package} {_version(package)}' for package in _PACKAGES)),
        ('Config', 'python', str(meta.get('cfg', '')).strip()),
    ]
    card = ModelCard.from_template(
        _front_matter(checkpoint, name, licence, known, is_adapter),
        template_path=str(_TEMPLATE),
        title=f'{name}, {side}',
        side=side,
        iteration=meta.get('iter', 'unknown'),
        base_name=known or Path(base).name,
        fingerprint=own.get('fingerprint'),
        licence=licence or 'the base directory names none',
        is_adapter=is_adapter,
        has_code=(Path(base) / 'modeling_sa2va_chat.py').is_file(),
        repo=repo or 'MODEL',
        blocks=[block for block in blocks if block[2]],
    )
    return str(card)


def _front_matter(
    checkpoint: dict[str, Any], name: str, licence: str | None, base_model: str | None, is_adapter: bool
) -> ModelCardData:
    data = str(checkpoint.get('meta', {}).get('sa2va', {}).get('data', ''))
    more: dict[str, Any] = {}
    if licence is None:
        more['license_name'] = 'not-stated-by-the-base'
    if base_model is not None:
        more['base_model_relation'] = 'adapter' if is_adapter else 'finetune'
    return ModelCardData(
        license=licence or 'other',
        library_name='peft' if is_adapter else 'transformers',
        pipeline_tag='image-text-to-text',
        base_model=base_model,
        datasets=[line.split()[0] for line in data.splitlines()[1:] if line.strip()] or None,
        tags=['sa2va', 'mask_caption_sft', 'referring-expression-segmentation'],
        model_name=name,
        eval_results=_eval_results(checkpoint) or None,
        **more,
    )


def _eval_results(checkpoint: dict[str, Any]) -> list[EvalResult]:
    """The last validation, a result per score; what is not finite is left out."""
    found = []
    for name, values in _scalars(checkpoint).items():
        match = re.fullmatch(r'val/((\w+?)(?:_best_of_\d+)?(?:_given)?/(.+))', name)
        if match is None or match[2] not in _TASKS or match[3] in _COUNTS or not math.isfinite(values[-1]):
            continue
        kind, title = _TASKS[match[2]]
        found.append(
            EvalResult(
                task_type=kind, task_name=title, dataset_type='validation',
                dataset_name="the run's held-out regions", metric_type=match[1], metric_name=match[1],
                metric_value=round(float(values[-1]), 4),
            )
        )  # fmt: skip
    return found


def _last_losses(checkpoint: dict[str, Any]) -> str:
    lines = []
    for name, values in _scalars(checkpoint).items():
        if re.match(r'(train/(.*/)?loss|val/)', name):
            recent = values[-10:] if name.startswith('train/') else values[-1:]
            lines.append(f'{name:<40}{sum(recent) / len(recent):>10.4f}')
    return '\n'.join(lines)


def _scalars(checkpoint: dict[str, Any]) -> dict[str, list[float]]:
    """What the run logged, by name; upstream's logs are not read."""
    scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
    read = {
        name: buffer['log_history'] for name, buffer in sorted(scalars.items()) if isinstance(buffer, dict)
    }
    return {name: values for name, values in read.items() if values}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'


def _licence(base: Path) -> str | None:
    readme = base / 'README.md'
    found = re.search(r'^license:\s*(\S+)', readme.read_text(), re.MULTILINE) if readme.is_file() else None
    return found.group(1) if found else None
