"""A trained model in the released layout: the base, with only what was trained replaced."""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .adapter import write_adapter
from .config import read_config
from .key_map import key_map_of
from .released import ReleasedWeights, write_safetensors
from .remote_code import add_code, check_code
from .tied_embeddings import with_tied_head
from .trained_tensors import TrainedTensors

#: Groups in the report, by the beginning or a part of released names.
GROUPS = {
    'language model': ('language_model.model.layers', 'language_model.layers'),
    'embeddings and head': ('language_model.', 'lm_head.'),
    'projector': ('mlp1.', 'merger'),
    'mask decoder': ('mask_decoder',),
    'text_hidden_fcs': ('text_hidden_fcs.',),
}


@dataclass
class Change:
    """How far the tensors of one group moved.

    Attributes:
        num_tensors: How many were replaced.
        largest: Largest absolute difference of a value, as stored.
        total: Sum of absolute differences.
        num_values: Number of values.
    """

    num_tensors: int = 0
    largest: float = 0.0
    total: float = 0.0
    num_values: int = 0

    def add(self, before: Tensor, after: Tensor) -> None:
        """Count one tensor."""
        difference = (after.float() - before.float()).abs()
        self.num_tensors += 1
        self.largest = max(self.largest, difference.max().item())
        self.total += difference.double().sum().item()
        self.num_values += difference.numel()


def export(
    base: str | Path,
    trained: TrainedTensors,
    out_dir: str | Path,
    card: Callable[[str], str],
    overwrite: bool = False,
    allow_unchanged: bool = False,
    code: Sequence[str | Path] = (),
) -> dict[str, Change]:
    """Write ``out_dir`` in the released layout and return the changes by group.

    LoRA is merged in float32 and the result cast to the base's dtype. Everything
    else is the base's own: untouched shards and the other files, its code too, byte for byte. If the base
    ties its embeddings to its output matrix and they were trained, every stored name of the
    two gets the new value.
    The directory appears under its name only when it is complete.

    Args:
        base: The directory that training started from.
        trained: What training changed.
        out_dir: Target.
        card: Makes the text of ``README.md`` from the table of changes; the base's own is
            kept as ``README_base.md``.
        overwrite: Replace an existing directory.
        allow_unchanged: Write although nothing differs from the base.
        code: Files of Python that replace the base's of the same name, or are added.

    Raises:
        FileExistsError: The target exists, and ``overwrite`` is not set.
        ValueError: A trained tensor is not in the base, does not fit it or is not
            finite; or nothing changed.
        OSError: There is no space left. Nothing is left behind.
    """
    base, out_dir, code = Path(base), Path(out_dir), check_code(code)
    config, weights = read_config(base), ReleasedWeights(base)
    trained = with_tied_head(trained, key_map_of(config), weights.keys(), 'the checkpoint')
    _require_known(trained, weights)
    with _written_whole(out_dir, _size(base), overwrite) as folder:
        changes = _write_weights(weights, trained, folder)
        _require_changed(changes, allow_unchanged)
        _copy_other_files(base, folder, set(weights.shard_of.values()))
        add_code(code, folder)
        (folder / 'README.md').write_text(card(report(changes)))
    return changes


def export_adapter(
    weights: ReleasedWeights,
    trained: TrainedTensors,
    out_dir: str | Path,
    card: Callable[[str], str],
    base_name: str,
    overwrite: bool = False,
    allow_unchanged: bool = False,
) -> dict[str, Change]:
    """Write ``out_dir`` as a PEFT adapter (:func:`write_adapter`) and return the changes by group.

    Args:
        weights: Of the base.
        trained: What training changed.
        out_dir, card, overwrite, allow_unchanged: As for :func:`export`.
        base_name: The base's hub id or directory.

    Raises:
        FileExistsError, ValueError, OSError: As :func:`export`, and where there is no LoRA.
    """
    _require_known(trained, weights)
    whole = {name: trained.apply(name, weights[name]) for name in trained.rows}
    trained = replace(trained, replaced=trained.replaced | whole, rows={})
    changes: dict[str, Change] = defaultdict(Change)
    for key in sorted(trained.names()):
        changes[_group(key)].add(weights[key], trained.apply(key, weights[key]))
    _require_changed(changes, allow_unchanged)
    pairs = [matrix for pair in trained.lora.values() for matrix in pair]
    size = sum(tensor.nbytes for tensor in (*trained.replaced.values(), *pairs))
    with _written_whole(Path(out_dir), size, overwrite) as folder:
        write_adapter(trained, folder, base_name, weights.fingerprint())
        (folder / 'README.md').write_text(card(report(changes)))
    return dict(changes)


def _require_known(trained: TrainedTensors, weights: ReleasedWeights) -> None:
    unknown = sorted(trained.names() - set(weights.keys()))
    if unknown:
        raise ValueError(
            f'{len(unknown)} trained tensors are not in {weights.base} ({", ".join(unknown[:5])}): the '
            'checkpoint was trained on another base, or has a part that the released layout has no place '
            'for. Give the right base with --base.'
        )


def _require_changed(changes: dict[str, Change], allow_unchanged: bool) -> None:
    if not allow_unchanged and not any(change.largest for change in changes.values()):
        raise ValueError(
            'Nothing differs from the base: the export would be a copy of it. Was the run trained? '
            '(--allow-unchanged writes it anyway.)'
        )


def _write_weights(weights: ReleasedWeights, trained: TrainedTensors, folder: Path) -> dict[str, Change]:
    changes: dict[str, Change] = defaultdict(Change)
    names = trained.names()
    for shard in sorted(set(weights.shard_of.values())):
        keys = [key for key in weights if weights.shard_of[key] == shard]
        if not names.intersection(keys):
            shutil.copyfile(weights.base / shard, folder / shard)
            continue
        tensors = {key: weights[key] for key in keys}
        for key in names.intersection(keys):
            value = trained.apply(key, tensors[key])
            if not torch.isfinite(value).all():
                raise ValueError(f'{key} is not finite after training. Export an earlier checkpoint.')
            changes[_group(key)].add(tensors[key], value)
            tensors[key] = value.contiguous()
        write_safetensors(tensors, folder / shard, weights.metadata(shard))
    return dict(changes)


def _group(name: str) -> str:
    return next((group for group, parts in GROUPS.items() if any(p in name for p in parts)), 'other')


def _copy_other_files(base: Path, folder: Path, shards: set[str]) -> None:
    for path in sorted(base.iterdir()):
        if path.name in shards:
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, copy_function=shutil.copyfile)
        else:
            name = 'README_base.md' if path.name == 'README.md' else path.name
            shutil.copyfile(path, folder / name)


def _size(base: Path) -> int:
    return sum(path.stat().st_size for path in base.rglob('*') if path.is_file())


@contextmanager
def _written_whole(out_dir: Path, size: int, overwrite: bool) -> Iterator[Path]:
    """A folder beside the target that takes the target's name at the end, or is removed on failure."""
    if out_dir.exists() and not overwrite:
        raise FileExistsError(f'{out_dir} exists. Choose another --output_dir, or pass --overwrite.')
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out_dir.parent).free
    if free < size:
        raise OSError(
            f'{out_dir.parent} has {free / 2**30:.2f} GiB free; the export needs {size / 2**30:.2f} GiB.'
        )
    folder = out_dir.with_name(f'.{out_dir.name}.{os.getpid()}.tmp')
    folder.mkdir()
    try:
        yield folder
        old = out_dir.with_name(f'.{out_dir.name}.{os.getpid()}.old')
        if out_dir.exists():
            out_dir.rename(old)
        folder.rename(out_dir)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(changes: dict[str, Change]) -> str:
    """A table of the changes by group."""
    lines = [f'{"group":<22}{"tensors":>8}{"values":>14}{"largest":>12}{"mean":>12}']
    for group, change in changes.items():
        mean = change.total / max(1, change.num_values)
        lines.append(
            f'{group:<22}{change.num_tensors:>8}{change.num_values:>14,}{change.largest:>12.3e}{mean:>12.3e}'
        )
    return '\n'.join(lines)
