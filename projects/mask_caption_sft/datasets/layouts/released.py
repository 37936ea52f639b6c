"""Layouts of data sets as they are released, or as this module writes them."""

import re
from fnmatch import fnmatch

from ..remote.path import AnyPath
from .finding import Finding, number_of

_REFS = re.compile(r'g?refs\((.*)\)\.(p|json)')


def judge_sav(root: AnyPath, names: list[str]) -> Finding:
    """Pairs of SA-V."""
    result = Finding('sav', '**/masklet_data_*.npz', is_special=True)
    count = sum(fnmatch(name.rpartition('/')[2], 'masklet_data_*.npz') for name in names)
    if count:
        result.found.append(number_of(count, 'pair'))
    else:
        result.missing.append('masklet_data_*.npz')
    return result


def judge_sa1b(root: AnyPath, names: list[str]) -> Finding:
    """SA-1B: a JSON file beside each image."""
    result = Finding('sa1b', '**/sa_*.json beside sa_*.jpg', is_special=True)
    there = set(names)
    annotations = [n for n in names if fnmatch(n.rpartition('/')[2], '*.json')]
    pairs = [name for name in annotations if f'{name[:-5]}.jpg' in there]
    if not annotations:
        result.missing.append('JSON files')
    elif not pairs:
        result.missing.append('JPEG files beside JSON files of the same names')
    elif b'"annotations"' not in (root / pairs[0]).read_bytes():
        result.missing.append(f'"annotations" in {pairs[0]}')
    else:
        result.found.append(number_of(len(pairs), 'image'))
    return result


def judge_openimages(root: AnyPath, names: list[str]) -> Finding:
    """OpenImages V7."""
    result = Finding(
        'openimages',
        '{split}-annotations-object-segmentation.csv, oidv7-class-descriptions.csv, images/{split}/, '
        'masks/{split}/',
        is_special=True,
    )
    tables = [name for name in names if fnmatch(name, '*-annotations-object-segmentation.csv')]
    classes = [name for name in names if fnmatch(name, '*class-descriptions*.csv')]
    splits = [table.partition('-')[0] for table in tables]
    split = 'train' if 'train' in splits or not splits else splits[0]
    needed = {
        f'{split}-annotations-object-segmentation.csv': tables, '*class-descriptions*.csv': classes,
        f'images/{split}/': [n for n in names if n.startswith(f'images/{split}/')],
        f'masks/{split}/': [n for n in names if n.startswith(f'masks/{split}/')],
    }  # fmt: skip
    result.missing = [what for what, there in needed.items() if not there]
    result.found = [f'{what} ({number_of(len(there), "file")})' for what, there in needed.items() if there]
    if result.is_whole:
        ann_file = next(table for table in tables if table.startswith(split))
        result.arguments = dict(ann_file=ann_file, class_file=classes[0], split=split)
    return result


def judge_refcoco(root: AnyPath, names: list[str]) -> Finding:
    """RefCOCO and its kin, which have their own validation."""
    result = Finding(
        'refcoco', 'instances.json, refs({unc,umd,google}).p (or .json), train2014 images', is_special=True
    )
    refs = [match[1] for name in names if (match := _REFS.fullmatch(name))]
    if refs:
        result.found.append(f'refs({refs[0]})')
    else:
        result.missing.append('refs(...).p')
    if 'instances.json' in names:
        result.found.append('instances.json')
    else:
        result.missing.append('instances.json')
    if result.is_whole:
        result.arguments = dict(split_by=refs[0], split='train')
        result.val_arguments = dict(split_by=refs[0], split='val', every_expression=True)
    return result
