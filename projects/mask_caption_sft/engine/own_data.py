"""A config that trains on a folder of the user's, alone or beside its mix."""

import copy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ..datasets.layouts.finding import Finding
from ..datasets.layouts.recognise import KINDS, recognise
from ..datasets.tabled import TabledDataset
from ..datasets.transforms import SecondView
from .base_sizes import declared

#: Names of the datasets in the config.
TRAIN_NAME, VAL_NAME = 'data', 'data_val'


@dataclass(frozen=True)
class OwnData:
    """What a user asks for.

    Attributes:
        path: Folder of images and masks, or a COCO file.
        layout: A key of ``KINDS``; None finds it out.
        mix_share: Share of the draws that the config's mix keeps, in [0, 1); 0 trains on the folder alone.
        val_share: Share of the images (videos) that are held out for validation, in (0, 1).
        class_names: Teach the names of classes as weak expressions.
    """

    path: str
    layout: str | None = None
    mix_share: float = 0.0
    val_share: float = 0.05
    class_names: bool = False


def add_own_data(config: Config, own: OwnData) -> str:
    """Declare the folder as dataset ``data``, and what is held out of it as ``data_val``.

    Transforms are those of the config's first dataset, and in validation of the first that makes a second
    view. Metrics and pictures of chosen validation datasets take in ``data_val``. Alone, every other dataset
    is left out.

    Args:
        config: Changed in place.
        own: Which folder, and how.

    Returns:
        What was found, in a line.

    Raises:
        FileNotFoundError, ValueError: See :func:`recognise`; or an option does not fit the config.
    """
    root, finding = recognise(own.path, own.layout)
    kind = KINDS[finding.layout]
    if own.class_names and finding.layout in ('sa1b', 'sav', 'refcoco'):
        raise ValueError(f'--class-names: {finding.layout} has no names of classes. Leave it out.')
    train, val = _arguments(finding, own.val_share)
    if own.class_names:
        train['class_name_as_expression'] = True
    mix = config.train_dataloader.dataset.datasets
    shared = dict(type=kind, data_root=root)
    declaration = dict(**shared, **train, pipeline=_pipeline(mix))
    _put(
        config, 'train_dataloader', TRAIN_NAME, _weighted(declaration, mix, own.mix_share), own.mix_share > 0
    )
    if config.get('val_dataloader') is not None:
        validation = dict(
            **shared, **val, pipeline=_pipeline(config.val_dataloader.dataset.datasets, SecondView)
        )
        for loader in ('val_dataloader', 'test_dataloader'):
            if config.get(loader) is not None:
                _put(config, loader, VAL_NAME, validation, own.mix_share > 0)
        _count_validation(config, own.mix_share > 0)
    held = f'{own.val_share:.0%} held out' if finding.val_arguments is None else 'with a part of its own'
    return f'{root}: {finding.layout} ({kind.__name__}): {"; ".join(finding.found)}; {held} for validation'


def _arguments(finding: Finding, val_share: float) -> tuple[dict[str, Any], dict[str, Any]]:
    if finding.val_arguments is not None:
        return dict(finding.arguments), dict(finding.val_arguments)
    if not 0 < val_share < 1:
        raise ValueError(f'--val-share {val_share} is not between 0 and 1.')
    assert issubclass(KINDS[finding.layout], TabledDataset)
    shared = dict(**finding.arguments, val_share=val_share)
    return dict(**shared, part='train'), dict(**shared, part='val')


def _pipeline(datasets: dict[str, Any], needed: type | None = None) -> list[Any]:
    """Transforms of the first dataset, or of the first with such a transform, if there is one."""
    found = [d['pipeline'] for d in datasets.values() if d is not None and d.get('pipeline')]
    if not found:
        raise ValueError('--data takes the transforms of the datasets of the config, and it has none.')
    wanted = [p for p in found if needed is not None and next(declared(p, '', needed), None)]
    return copy.deepcopy((wanted or found)[0])


def _weighted(declaration: dict[str, Any], mix: dict[str, Any], mix_share: float) -> dict[str, Any]:
    if mix_share == 0:
        return declaration
    if not 0 < mix_share < 1:
        raise ValueError(f'--mix-share {mix_share} is not in [0, 1).')
    weights = [declared.get('weight') for declared in mix.values() if declared is not None]
    if not weights or None in weights:
        raise ValueError('--mix-share needs a mix with weights, and the datasets of the config have none.')
    return declaration | {'weight': sum(weights) * (1 - mix_share) / mix_share}


def _put(config: Config, loader: str, name: str, declaration: dict[str, Any], beside: bool) -> None:
    """Without merging: a key of another dataset must not stay."""
    dataset = config[loader].dataset
    others = dict(dataset.datasets) if beside else {}
    dataset['datasets'] = {**others, name: declaration}


def _count_validation(config: Config, beside: bool) -> None:
    """Have metrics and pictures of chosen datasets take in ours; alone, leave out metrics of drawn scenes."""
    chosen: list[dict[str, Any]] = [h for h in config.get('custom_hooks') or [] if h.get('datasets')]
    for evaluator in ('val_evaluator', 'test_evaluator'):
        metrics = config.get(evaluator)
        if metrics is None:
            continue
        listed = metrics if isinstance(metrics, list | tuple) else [metrics]
        kept = [metric for metric in listed if beside or not metric.get('scenes')]
        config[evaluator] = kept
        chosen += [metric for metric in kept if metric.get('datasets')]
    for item in chosen:
        names = [name for name in item['datasets'] if beside and name != VAL_NAME]
        item['datasets'] = [*names, VAL_NAME]
