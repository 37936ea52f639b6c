"""Builds and checks everything a run needs, then stops."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..datasets.mix import build_dataset
from ..ops.build import build
from ..sa2va.meta import build_on_meta
from ..structures import BrokenRecord, RegionSample
from .context import context_problems
from .launch import check_base_dtype
from .monitored import check_monitored
from .schedules import check_schedules

_BASE_MISSING = (
    'the released Sa2VA checkpoint: config.json (model_type sa2va_chat), *.safetensors, tokenizer files. '
    'From: Hugging Face, ByteDance/Sa2VA-4B'
)


def dry_run(config: Config) -> int:
    """Print the resolved config, trainable parameters and one sample per dataset; report every fault.

    Without the base checkpoint the architecture is built on the meta device,
    which needs neither weights nor memory.

    Returns:
        Exit status: 0 if the run could start.
    """
    print(config.pretty_text)
    problems: list[str] = []
    _check_model(config, problems)
    try:
        check_schedules(config.get('param_scheduler'))
        check_monitored(config)
        if not problems:  # a base that cannot be built has been named
            check_base_dtype(config, trains=True)
    except ValueError as error:
        problems.append(str(error))
    for loader in ('train_dataloader', 'val_dataloader'):
        if config.get(loader) is not None:
            _check_datasets(config[loader].dataset.datasets, f'{loader}.dataset.datasets', problems)
    if problems:
        print(f'\n{len(problems)} problem(s); nothing was trained:')
        for number, problem in enumerate(problems, start=1):
            print(f'{number:>3}. {problem}')
        return 1
    print('\nEverything is in place; nothing was trained.')
    return 0


def _check_model(config: Config, problems: list[str]) -> None:
    arguments = dict(config.model['sa2va'])
    base = arguments.get('base')
    is_missing = 'base' in arguments and not (Path(base or '') / 'config.json').is_file()
    if is_missing:
        problems.append(f'model.sa2va.base={str(base)!r} is missing; expected there: {_BASE_MISSING}.')
    try:
        if is_missing:
            settings = {key: value for key, value in arguments.items() if key not in ('base', 'type')}
            student = build_on_meta(**settings)
        else:
            student = build(dict(config.model)).student
    except (OSError, ValueError) as error:
        problems.append(f'model.sa2va{"" if base is None else f".base={str(base)!r}"}: {error}')
        return
    print(f'\nModel: {"Sa2VA-4B on the meta device (shapes only)" if is_missing else base or "a new one"}')
    print(parameter_groups(student))
    problems.extend(context_problems(config, student))


def parameter_groups(model: torch.nn.Module) -> str:
    """Tensors and parameters that are trained, by part."""
    groups = {'LoRA': 'lora_', 'projector': 'multi_modal_projector', 'mask decoder': 'mask_decoder',
              'text_hidden_fcs': 'text_hidden_fcs', 'embeddings and head': ''}  # fmt: skip
    counts = {name: [0, 0] for name in groups}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = next(title for title, part in groups.items() if part in name)
            counts[group][0] += 1
            counts[group][1] += parameter.numel()
    lines = [f'{"trained":<22}{"tensors":>8}{"parameters":>14}']
    lines += [f'{title:<22}{n:>8}{size:>14,}' for title, (n, size) in counts.items() if n]
    total = sum(size for _, size in counts.values())
    return '\n'.join([*lines, f'{"all":<22}{sum(n for n, _ in counts.values()):>8}{total:>14,}'])


def _check_datasets(datasets: dict[str, Any], key: str, problems: list[str]) -> None:
    for name, declared in datasets.items():
        if declared is None:
            continue
        try:
            dataset = build_dataset(name, declared)
            sample = dataset[0]
        except (OSError, ValueError) as error:
            problems.append(f'{key}.{name}.data_root={declared["data_root"]!r}: {error}')
            continue
        except TypeError as error:  # an argument that the dataset does not have
            problems.append(f'{key}.{name}: {error}. Correct the config.')
            continue
        print(f'\n{key}.{name}: {len(dataset)} records')
        if isinstance(sample, BrokenRecord):
            problems.append(f'{key}.{name}: {sample.sample_id}: {sample.reason}')
        else:
            print(describe_sample(sample))


def describe_sample(sample: RegionSample) -> str:
    """One sample in a few lines: name, sizes, mask areas, prompt cells, texts."""
    lines = [f'  {sample.sample_id}']
    for title, view in (('view 1', sample.view1), ('view 2', sample.view2)):
        areas = ', '.join(f'{area:.2%}' for area in view.masks.flatten(1).float().mean(1).tolist())
        lines.append(
            f'  {title}: {len(view.pixel_values)} tile(s) of {view.pixel_values.shape[-1]}, '
            f'grounding {view.g_pixel_values.shape[-1]}, masks {areas}, '
            f'prompt cells {view.visual_prompts.flatten(1).sum(1).tolist()}'
        )
    return '\n'.join([*lines, f'  expressions: {sample.expressions}'])
