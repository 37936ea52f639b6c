"""A config that trains on folders of the user's, alone or beside its mix."""

import copy
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from ..datasets.layouts.finding import Finding
from ..datasets.layouts.recognise import KINDS, recognise
from ..datasets.tabled import TabledDataset
from ..datasets.transforms import SecondView
from .base_sizes import declared

#: Name of the first folder's dataset in the config; the second is ``data_2``. Validation adds ``_val``.
TRAIN_NAME = 'data'


@dataclass(frozen=True)
class OwnData:
    """What a user asks for.

    Attributes:
        paths: Folders of images and masks, or COCO files.
        layouts: Keys of ``KINDS``: one for all paths, or one for each; none finds them out.
        mix_share: Share of the draws that the config's mix keeps, in [0, 1); 0 trains on the folders alone.
            They have equal shares of what is left.
        val_share: Share of the images (videos) of each that are held out for validation, in (0, 1).
        class_names: Teach the names of classes as weak expressions.
    """

    paths: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    mix_share: float = 0.0
    val_share: float = 0.05
    class_names: bool = False


def add_own_data(config: Config, own: OwnData) -> list[str]:
    """Declare the folders as datasets ``data``, ``data_2``, ..., and what is held out as ``data_val``, ...

    Transforms are those of the config's first dataset, and in validation of the first that makes a second
    view. Metrics and pictures of chosen validation datasets take them in. Without a mix share, every other
    dataset is left out.

    Args:
        config: Changed in place.
        own: Which folders, and how.

    Returns:
        What was found, in a line for each.

    Raises:
        FileNotFoundError, ValueError: See :func:`recognise`; or an option does not fit the config.
    """
    found = list(zip(_names(len(own.paths)), _recognise_all(own)))
    mix = config.train_dataloader.dataset.datasets
    train_pipeline, weight = _pipeline(mix), _weight(mix, own)
    val_pipeline = None
    if config.get('val_dataloader') is not None:
        val_pipeline = _pipeline(config.val_dataloader.dataset.datasets, SecondView)
    train, val, said = {}, {}, []
    for name, (root, finding) in found:
        kind = KINDS[finding.layout]
        of_train, of_val = _arguments(finding, own.val_share)
        if own.class_names:
            of_train['class_name_as_expression'] = True
        shared = dict(type=kind, data_root=root)
        train[name] = dict(**shared, **of_train, **weight, pipeline=copy.deepcopy(train_pipeline))
        val[f'{name}_val'] = dict(**shared, **of_val, pipeline=copy.deepcopy(val_pipeline))
        said.append(_said(name, root, finding, own, kind.__name__))
    _put(config, 'train_dataloader', train, own.mix_share > 0)
    if val_pipeline is not None:
        for loader in ('val_dataloader', 'test_dataloader'):
            if config.get(loader) is not None:
                _put(config, loader, val, own.mix_share > 0)
        _count_validation(config, list(val), own.mix_share > 0)
    return said


def _names(count: int) -> list[str]:
    return [TRAIN_NAME, *(f'{TRAIN_NAME}_{number}' for number in range(2, count + 1))]


def _recognise_all(own: OwnData) -> list[tuple[str, Finding]]:
    twice = [path for path in own.paths if own.paths.count(path) > 1]
    if twice:
        raise ValueError(f'--data {twice[0]} is given twice. Its weight makes it be drawn more often.')
    if len(own.layouts) not in (0, 1, len(own.paths)):
        raise ValueError(
            f'there are {len(own.paths)} --data and {len(own.layouts)} --layout. Give one for all, or one '
            'for each, in the same order.'
        )
    layouts = own.layouts if len(own.layouts) > 1 else [*own.layouts, None][:1] * len(own.paths)
    found = [recognise(path, layout) for path, layout in zip(own.paths, layouts)]
    nameless = [finding.layout for _, finding in found if finding.layout in ('sa1b', 'sav', 'refcoco')]
    if own.class_names and nameless:
        raise ValueError(f'--class-names: {nameless[0]} has no names of classes. Leave it out.')
    return found


def _said(name: str, root: str, finding: Finding, own: OwnData, kind: str) -> str:
    held = f'{own.val_share:.0%} held out' if finding.val_arguments is None else 'with a part of its own'
    share = (1 - own.mix_share) / len(own.paths)
    which = '' if len(own.paths) == 1 else f', dataset {name}'
    drawn = '' if share == 1 else f'; {share:.0%} of the draws'
    return (
        f'{root}: {finding.layout} ({kind}){which}: {"; ".join(finding.found)}; {held} for validation{drawn}'
    )


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


def _weight(mix: dict[str, Any], own: OwnData) -> dict[str, float]:
    """The weight of each folder; a single one that has the draws for itself needs none."""
    if not 0 <= own.mix_share < 1:
        raise ValueError(f'--mix-share {own.mix_share} is not in [0, 1).')
    if own.mix_share == 0:
        return {} if len(own.paths) == 1 else {'weight': 1.0}
    weights = [declared.get('weight') for declared in mix.values() if declared is not None]
    if not weights or None in weights:
        raise ValueError('--mix-share needs a mix with weights, and the datasets of the config have none.')
    return {'weight': sum(weights) * (1 - own.mix_share) / own.mix_share / len(own.paths)}


def _put(config: Config, loader: str, declared: dict[str, Any], beside: bool) -> None:
    """Without merging: a key of another dataset must not stay."""
    dataset = config[loader].dataset
    others = dict(dataset.datasets) if beside else {}
    dataset['datasets'] = {**others, **declared}


def _count_validation(config: Config, names: list[str], beside: bool) -> None:
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
        others = [name for name in item['datasets'] if beside and name not in names]
        item['datasets'] = [*others, *names]
