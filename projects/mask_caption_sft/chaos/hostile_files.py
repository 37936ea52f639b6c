"""Checkpoints, bases and datasets from someone who wishes harm; each springs, or would, a visible trap."""

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..checkpoints.training_file import read_checkpoint


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _spring, (self.path,)


def _spring(path: str) -> None:
    Path(path).touch()


# ---------------------------------------------------------------- checkpoints


def config_that_runs(path: Path, trap: Path) -> None:
    """A whole checkpoint with Python in the text of its config, which MMEngine's own resume executes."""
    content = read_checkpoint(path, mmap=False)
    text = f'open({str(trap)!r}, "w").close()\na = 1'
    content['meta'].update(config=text, cfg=text)
    torch.save(content, path)


def pickle_that_runs(path: Path, trap: Path) -> None:
    """A pickle that would run code, in the place of the newest checkpoint."""
    torch.save({'state_dict': {}, 'meta': Trap(trap), 'optimizer': {}, 'message_hub': {}}, path)


# ---------------------------------------------------------------- bases


def shard_elsewhere(base: Path, trap: Path) -> None:
    """Its index names weights in a folder beside it, where an export would write."""
    tensors = load_file(base / 'model.safetensors')
    (base.parent / 'other').mkdir(exist_ok=True)
    save_file(tensors, base.parent / 'other' / 'model.safetensors')
    index = {'weight_map': dict.fromkeys(tensors, '../other/model.safetensors')}
    (base / 'model.safetensors.index.json').write_text(json.dumps(index))


def tokenizer_that_runs(base: Path, trap: Path) -> None:
    """A tokenizer of a class of its own, whose code lies beside it."""
    (base / 'trap.py').write_text(f'open({str(trap)!r}, "w").close()\nclass Trap: ...\n')
    path = base / 'tokenizer_config.json'
    settings = json.loads(path.read_text())
    settings |= {'tokenizer_class': 'Trap', 'auto_map': {'AutoTokenizer': ['trap.Trap', None]}}
    path.write_text(json.dumps(settings))


#: What a base does, and what the run has to say to it.
BASES: dict[Callable[[Path, Path], None], str] = {
    shard_elsewhere: 'names shards that are not plain',
    tokenizer_that_runs: 'custom code',
}


# ---------------------------------------------------------------- datasets


def pairs_of_pickles(world: Path, trap: Path) -> None:
    """SA-V: each frame is a pickled object."""
    for path in (world / 'train' / 'sav').rglob('*.npz'):
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays | {'frame1': np.array([Trap(trap)], dtype=object)}, allow_pickle=True)


def negative_counts(world: Path, trap: Path) -> None:
    """SA-1B: run lengths that would make C code write outside its image."""
    for path in (world / 'train' / 'sa1b').glob('*.json'):
        content = json.loads(path.read_text())
        for annotation in content['annotations']:
            height, width = annotation['segmentation']['size']
            annotation['segmentation']['counts'] = [-5, height * width + 5]
        path.write_text(json.dumps(content))


def masks_elsewhere(world: Path, trap: Path) -> None:
    """OpenImages: masks are looked for outside the dataset's folder, where there is one of that name."""
    root = world / 'train' / 'openimages'
    table = root / 'train-annotations-object-segmentation.csv'
    with table.open(newline='') as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        shutil.copy(root / 'masks' / 'train' / row['MaskPath'], root / 'masks')
        row['MaskPath'] = f'../{row["MaskPath"]}'
    with table.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def endless_polygons(world: Path, trap: Path) -> None:
    """RefCOCO: corners at 1e300, which end pycocotools in a segmentation fault."""
    path = world / 'refcoco' / 'instances.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        annotation['segmentation'] = [[0.0, 0.0, 1e300, 0.0, 1e300, 1e300]]
    path.write_text(json.dumps(content))


def refs_that_run(world: Path, trap: Path) -> None:
    """RefCOCO: the pickle of expressions would run code."""
    (world / 'refcoco' / 'refs(unc).p').write_bytes(pickle.dumps([Trap(trap)], protocol=2))


#: Faults of records, by the folder that their names hold.
RECORDS: dict[str, Callable[[Path, Path], None]] = {
    'sav': pairs_of_pickles,
    'sa1b': negative_counts,
    'openimages': masks_elsewhere,
    'refcoco': endless_polygons,
}
