"""The parts of a run, looked at one by one: the model's trained tensors, and a sample of each dataset."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from ..checkpoints.config import read_config
from ..datasets.mix import build_dataset
from ..sa2va.base_sizes import BaseSizes, base_sizes
from ..sa2va.meta import build_on_meta
from ..sa2va.released_sizes import stand_in_config, stand_in_name
from ..sa2va.sa2va import Sa2VA
from ..structures import BrokenRecord, RegionSample

_BASE_MISSING = (
    'the released Sa2VA checkpoint: config.json (model_type sa2va_chat), *.safetensors, tokenizer files. '
    'From: Hugging Face, ByteDance/'
)


def missing_base(config: Config) -> str | None:
    """A message where the base of the config is not there; None where it is, or where none is needed."""
    base = (config.model.get('sa2va') or {}).get('base', '')
    if base == '' or (Path(base or '') / 'config.json').is_file():
        return None
    return f'model.sa2va.base={str(base)!r} is missing; expected there: {_BASE_MISSING}{stand_in_name(base)}.'


def base_problems(config: Config) -> list[str]:
    """What is wrong with a base that is there: not a Sa2VA, or of sizes that no image has."""
    base = (config.model.get('sa2va') or {}).get('base')
    if base is None:
        return []
    try:
        base_sizes(read_config(base))
    except (OSError, ValueError, KeyError) as error:
        return [f'model.sa2va.base={str(base)!r}: {error}']
    return []


def model_without_base(config: Config) -> Sa2VA:
    """The architecture of the released checkpoint that the base is named after, else of Sa2VA-4B, with the
    config's settings, on the meta device: no weights, no memory.

    Raises:
        ValueError, TypeError: The settings do not go together.
    """
    settings = {key: value for key, value in config.model['sa2va'].items() if key not in ('base', 'type')}
    return build_on_meta(stand_in_config(config.model['sa2va'].get('base')), **settings)


def parameter_groups(model: nn.Module) -> str:
    """Tensors and parameters that are trained, by part."""
    groups = {'LoRA': 'lora_', 'projector': 'multi_modal_projector', 'mergers': 'merger',
              'mask decoder': 'mask_decoder', 'text_hidden_fcs': 'text_hidden_fcs',
              'embeddings and head': ''}  # fmt: skip
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


def look_at_datasets(datasets: dict[str, Any], key: str, problems: list[str]) -> dict[str, RegionSample]:
    """Build every dataset and print one of its samples; returns the samples by dotted key.

    Args:
        datasets: As a mix declares them.
        key: Of the mix in the config.
        problems: What is wrong is added here.
    """
    samples = {}
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
        elif not isinstance(sample, RegionSample):
            problems.append(
                f'{key}.{name}: a sample is a {type(sample).__name__}, not a RegionSample. Its pipeline has '
                'to end with PackRegions.'
            )
        else:
            print(describe_sample(sample))
            samples[f'{key}.{name}'] = sample
    return samples


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


def sizes_line(sizes: BaseSizes) -> str:
    """What every sample has to fit."""
    tiles = f'tiles of {sizes.image_size}, {sizes.grid_size} x {sizes.grid_size} prompt cells'
    if sizes.image_cut == 'cells':
        tiles = f'whole images in cells of {sizes.image_size}'
    return f'sizes: {tiles}, grounding {sizes.grounding_size}, context {sizes.max_context} tokens'


def size_problems(samples: dict[str, RegionSample], sizes: BaseSizes) -> list[str]:
    """Where a sample does not have the sizes that the model takes.

    Args:
        samples: By dotted key of their dataset.
        sizes: Of the model.
    """
    problems = []
    for key, sample in samples.items():
        for number, view in enumerate((sample.view1, sample.view2), start=1):
            found = dict(
                image_size=view.pixel_values.shape[-1],
                # Of an image that is taken whole the grid has its own size.
                grid_size=view.visual_prompts.shape[-1] if sizes.image_cut == 'tiles' else sizes.grid_size,
                grounding_size=view.g_pixel_values.shape[-1],
            )
            wrong = [
                f'{name} {size} instead of {getattr(sizes, name)}'
                for name, size in found.items()
                if size != getattr(sizes, name)
            ]
            if wrong:
                problems.append(
                    f'{key}: view {number} of {sample.sample_id} has {", ".join(wrong)}, the size of the '
                    'model. Leave these sizes out of PackRegions: they follow from model.sa2va.base.'
                )
                break
    return problems
