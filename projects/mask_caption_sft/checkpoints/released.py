"""Reading and writing weights in Sa2VA's released layout, tensor by tensor."""

import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .key_map import KeyMap, is_ours, plain_name
from .tied_embeddings import warn_if_untied

_INDEX, _SINGLE = 'model.safetensors.index.json', 'model.safetensors'
#: The grounding encoder's positional embedding is a buffer, held twice.
_POSITIONS = 'grounding_encoder.shared_image_embedding.positional_embedding'
_POSITIONS_AGAIN = 'grounding_encoder.prompt_encoder.shared_embedding.positional_embedding'


class ReleasedWeights(Mapping[str, Tensor]):
    """The tensors of a released checkpoint by name, each a part of its mapped file.

    The mapping is private: what is written to a tensor reaches neither the file nor another process.
    Tensors that are only read stay in the page cache, one copy for all processes of a machine.

    Args:
        base: Directory with ``model.safetensors``, or shards with
            ``model.safetensors.index.json``.

    Raises:
        FileNotFoundError: No weights, or the index names a shard that is not there.
        ValueError: A shard is truncated or not a safetensors file, or the index names a path.
    """

    def __init__(self, base: str | Path) -> None:
        self.base = Path(base)
        self.shard_of = self._locate()
        self._open = {shard: self._open_shard(shard) for shard in sorted(set(self.shard_of.values()))}
        self._check_shards()

    def _check_shards(self) -> None:
        """Each shard must hold exactly what the index says."""
        for shard, file in self._open.items():
            listed = {key for key, place in self.shard_of.items() if place == shard}
            found = set(file.keys())
            if found != listed:
                raise ValueError(
                    f'{self.base / shard} is a shard of another model than {self.base / _INDEX}: it lacks '
                    f'{_listed(sorted(listed - found), 3) or "nothing"} of what is listed and also holds '
                    f'{_listed(sorted(found - listed), 3) or "nothing else"}. Download both again.'
                )

    def _locate(self) -> dict[str, str]:
        index, single = self.base / _INDEX, self.base / _SINGLE
        if index.is_file():
            shard_of = _read_index(index)
            missing = sorted({s for s in shard_of.values() if not (self.base / s).is_file()})
            if missing:
                raise FileNotFoundError(
                    f'{index} names shards that are not there: {", ".join(missing)}. '
                    'Complete the download of the checkpoint.'
                )
            return shard_of
        if not single.is_file():
            raise FileNotFoundError(
                f'{self.base} holds neither {_SINGLE} nor {_INDEX}. Complete the download.'
            )
        with self._open_shard(_SINGLE) as file:
            return dict.fromkeys(file.keys(), _SINGLE)

    def _open_shard(self, shard: str):
        try:
            return safe_open(self.base / shard, 'pt')
        except SafetensorError as error:
            raise ValueError(
                f'{self.base / shard} is truncated or not a safetensors file ({error}). Download it again.'
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.shard_of)

    def __len__(self) -> int:
        return len(self.shard_of)

    def __getitem__(self, key: str) -> Tensor:
        return self._open[self.shard_of[key]].get_tensor(key)

    def stored_dtype(self, key: str) -> str:
        """safetensors' name of a tensor's type, ``'BF16'`` for one; from the header."""
        return self._open[self.shard_of[key]].get_slice(key).get_dtype()

    def shape(self, key: str) -> tuple[int, ...]:
        """Of a tensor; from the header."""
        return tuple(self._open[self.shard_of[key]].get_slice(key).get_shape())

    def shapes(self, beginning: str) -> dict[str, tuple[int, ...]]:
        """Of all tensors whose names begin so."""
        return {key: self.shape(key) for key in self if key.startswith(beginning)}

    def metadata(self, shard: str) -> dict[str, str]:
        """The free-text header of a shard."""
        return self._open[shard].metadata() or {}

    def fingerprint(self) -> str:
        """Tells one base from another: a hash of names, shapes and every tensor's first row."""
        digest = hashlib.sha256()
        for key in sorted(self.shard_of):
            part = self._open[self.shard_of[key]].get_slice(key)
            shape = part.get_shape()
            row = part[:1] if shape else self[key]
            digest.update(f'{key} {shape} {row.dtype}'.encode())
            digest.update(row.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _read_index(path: Path) -> dict[str, str]:
    """The shard of each tensor; raises ``ValueError`` for a shard that is not a file beside the index."""
    try:
        shard_of = json.loads(path.read_text())['weight_map']
        shards = sorted(set(shard_of.values()))
        strange = [s for s in shards if Path(s).name != s or not s.endswith('.safetensors')]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is not an index of shards ({error}). Download it again.') from error
    if strange:
        raise ValueError(
            f'{path} names shards that are not plain *.safetensors beside it: {_listed(strange)}. An export '
            'would write to such a path: do not use this base.'
        )
    return shard_of


def tensor_names(base: str | Path) -> set[str]:
    """Names of a checkpoint's tensors, without a look at them; none if its files are missing or damaged."""
    index, single = Path(base) / _INDEX, Path(base) / _SINGLE
    try:
        if index.is_file():
            return set(_read_index(index))
        with safe_open(single, 'pt') as file:
            return set(file.keys())
    except (OSError, ValueError, SafetensorError):
        return set()  # whoever loads them says what is wrong


def native_tensors(
    keys: Iterable[str], read: Callable[[str], Tensor], key_map: KeyMap, where: str
) -> Iterator[tuple[str, Tensor]]:
    """Native names and tensors of a released checkpoint, one table row at a time.

    Args:
        keys: Names in the released layout.
        read: Returns the tensor of a name.
        key_map: Of the checkpoint's family.
        where: Names the checkpoint in messages.

    Raises:
        ValueError: A name is neither mapped nor listed as unused, or a row is incomplete.
    """
    keys = list(keys)
    entries, unknown = key_map.entries_for(keys)
    if unknown:
        raise ValueError(
            f'{where} has tensors that {key_map.backbone.family} has no entry for (checkpoints/key_map.py, '
            f'backbones/, grounding/): {_listed(unknown)}. Map them, or list them as unused.'
        )
    present = set(keys)
    incomplete = [name for entry in entries for name in entry.released if name not in present]
    if incomplete:
        raise ValueError(f'{where} lacks tensors: {_listed(incomplete)}.')
    for entry in entries:
        yield from zip(entry.native, entry.to_native([read(name) for name in entry.released]))


def load_native(model: nn.Module, tensors: Iterable[tuple[str, Tensor]], key_map: KeyMap, where: str) -> None:
    """Give the model these tensors as its parameters; every one must be given, and fit.

    Nothing is copied or cast: a parameter then is the tensor it was given, whatever its type and device, and
    takes a gradient if the one before it did. LoRA and rows of the embeddings that are trained alone are left
    as they are: they are not in a released checkpoint. A parameter has two names only if the embeddings are
    tied to the output matrix; then the first name is read.

    Raises:
        ValueError: Tensors are missing, unknown or of the wrong shape; the message lists them.
    """
    targets: dict[str, Tensor] = {plain_name(name): parameter for name, parameter in model.named_parameters()}
    targets[_POSITIONS] = model.get_buffer(_POSITIONS)
    targets = {name: target for name, target in targets.items() if not is_ours(name)}
    named_again = {plain_name(name) for name, _ in model.named_parameters(remove_duplicate=False)}
    places = _places(model)
    surplus, misfits, seen, unread = [], [], set(), {}
    for name, tensor in tensors:
        if name not in targets and name in named_again:
            unread[name] = tensor
            continue
        if name not in targets:
            surplus.append(name)
            continue
        seen.add(name)
        if targets[name].shape != tensor.shape:
            misfits.append(f'{name} {tuple(tensor.shape)} for {tuple(targets[name].shape)}')
            continue
        if name == _POSITIONS:
            targets[name].copy_(tensor)
            continue
        parameter = nn.Parameter(tensor, requires_grad=targets[name].requires_grad)
        for module, leaf in places[id(targets[name])]:
            setattr(module, leaf, parameter)
    missing = [key_map.released_name(name) for name in targets if name not in seen]
    problems = [
        f'{title}: {_listed(names)}'
        for title, names in (
            ('missing', missing), ('not in the model', surplus), ('of another shape', misfits)
        )
        if names
    ]  # fmt: skip
    if problems:
        raise ValueError(f'{where} does not fit its config.json. ' + '; '.join(problems))
    named = {plain_name(name): p for name, p in model.named_parameters(remove_duplicate=False)}
    for name, tensor in unread.items():
        warn_if_untied(named[name].detach(), tensor, key_map.released_name(name), where)
    model.get_buffer(_POSITIONS_AGAIN).copy_(model.get_buffer(_POSITIONS))


def _places(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Where each parameter is an attribute, by its id: in two places if the embeddings are tied."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                places.setdefault(id(parameter), []).append((module, leaf))
    return places


def write_safetensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """``save_file``, but with the mode of any new file; safetensors itself uses 0600 whatever the umask."""
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata=metadata or {'format': 'pt'})
    path.chmod(stat.S_IMODE(mode))


def save_released(
    model: nn.Module, key_map: KeyMap, out_dir: str | Path, dtype: torch.dtype | None = None
) -> None:
    """Write all weights of a model (without LoRA) in the released layout, one file.

    Tied embeddings are written once, as transformers writes them.

    Args:
        model: A ``Sa2VA``.
        key_map: Of its family.
        out_dir: Existing directory; ``model.safetensors`` is written by rename.
        dtype: Cast to this type; None keeps each tensor's own.

    Raises:
        ValueError: The model has a weight that is not in the key map.
    """
    state: dict[str, Tensor] = {
        plain_name(name): p for name, p in model.named_parameters() if not is_ours(name)
    }
    state[_POSITIONS] = model.get_buffer(_POSITIONS)
    entries = {name: key_map.entry_for_native(name) for name in state}
    unknown = [name for name, entry in entries.items() if entry is None]
    if unknown:
        raise ValueError(f'{key_map.backbone.family} has no entry in its key table for: {_listed(unknown)}.')
    tensors = {}
    for entry in {entry for entry in entries.values() if entry is not None}:
        released = entry.to_released([state[name] for name in entry.native])
        for name, tensor in zip(entry.released, released):
            tensors[name] = tensor.detach().to('cpu', dtype or tensor.dtype).contiguous().clone()
    target = Path(out_dir) / _SINGLE
    temporary = target.with_suffix('.tmp')
    write_safetensors(dict(sorted(tensors.items())), temporary)
    temporary.replace(target)


def _listed(names: list[str], limit: int = 20) -> str:
    names = sorted(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
