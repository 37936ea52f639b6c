"""What a checkpoint has trained, under the names of the released layout."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .key_map import EMBEDDINGS, TOKEN_ROWS, Entry, KeyMap, plain_name

_LORA = '.lora_{}.default.weight'
_UPSTREAM_WRAPPER = 'language_model.base_model.model.'
#: peft's copy of a module that is trained whole, and the frozen module it stands in for.
_TRAINED_COPY, _FROZEN_TWIN = '.modules_to_save.default.', '.original_module.'
#: In SAM 2's memory and in SAM 3's.
_FUSERS = 'memory_encoder.fuser.', 'maskmem_backbone.fuser.'
#: A Qwen-VL as peft wraps it, and the beginnings of the names within.
_QWEN_WRAPPER, _QWEN_PARTS = 'base_model.model.', ('model.', 'lm_head.')


@dataclass
class TrainedTensors:
    """Replacements and low-rank updates, by released name, or by native name within a tensor of several.

    Attributes:
        replaced: New values of whole tensors.
        lora: ``(A [r, in], B [out, r])``; the weight becomes ``W + scaling * B @ A``.
        scaling: ``lora_alpha / r``.
        parts: What changes native parts of a released tensor that is several of them, for one InternLM2's
            ``wqkv``; with the row that cuts it.
        rows: New values of some rows of a tensor, by number.
    """

    replaced: dict[str, Tensor] = field(default_factory=dict)
    lora: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    scaling: float = 1.0
    parts: dict[str, tuple[Entry, 'TrainedTensors']] = field(default_factory=dict)
    rows: dict[str, dict[int, Tensor]] = field(default_factory=dict)

    def names(self) -> set[str]:
        """Released names that differ from the base."""
        return self.replaced.keys() | self.lora.keys() | self.parts.keys() | self.rows.keys()

    def apply(self, name: str, base: Tensor) -> Tensor:
        """The trained value of a released tensor, computed in float32, in the base's dtype.

        Raises:
            ValueError: The shapes do not fit the base.
        """
        value = base.float()
        if name in self.replaced:
            value = self.replaced[name].float()
        if name in self.lora:
            down, up = (matrix.float() for matrix in self.lora[name])
            if (up.shape[0], down.shape[1], up.shape[1]) != (*base.shape, down.shape[0]):
                raise ValueError(
                    f'the LoRA of {name} is {tuple(up.shape)} x {tuple(down.shape)}, the base has '
                    f'{tuple(base.shape)}: the checkpoint was trained on another base'
                )
            value = value + self.scaling * (up @ down)
        if name in self.parts:
            entry, trained = self.parts[name]
            natives = zip(entry.native, entry.to_native([value]))
            (value,) = entry.to_released([trained.apply(native, tensor) for native, tensor in natives])
        if name in self.rows:
            value = _with_rows(value, self.rows[name], name)
        if value.shape != base.shape:
            raise ValueError(
                f'{name} is {tuple(value.shape)} in the checkpoint and {tuple(base.shape)} in the base: '
                'the checkpoint was trained on another base'
            )
        return value.to(base.dtype)


def from_ours(state: dict[str, Tensor], side: str, scaling: float | None, key_map: KeyMap) -> TrainedTensors:
    """The trained tensors in a checkpoint of :class:`MaskCaptionSFT`.

    Args:
        state: Its ``state_dict``.
        side: ``'student'`` or ``'teacher'``.
        scaling: ``lora_alpha / r``; None for a run without LoRA.
        key_map: Of the base.

    Raises:
        ValueError: A tensor has no single name in the released layout.
    """
    tensors = {k.removeprefix(f'{side}.'): v for k, v in state.items() if k.startswith(f'{side}.')}
    whole, parts = [], defaultdict(list)
    rows = {n: tensors.pop(n) for n in list(tensors) if n.startswith(TOKEN_ROWS)}
    for name, tensor in tensors.items():
        native = plain_name(_without_lora(name))
        entry = _entry(native, key_map)
        if len(entry.native) == 1:
            whole.append((entry.released[0], name, tensor))
        else:
            parts[entry].append((native, name, tensor))
    found = _collect(whole, scaling or 1.0)
    for entry, items in parts.items():
        found.parts[entry.released[0]] = entry, _collect(items, scaling or 1.0)
    if rows:
        of_tokens = {int(name.removeprefix(TOKEN_ROWS)): row for name, row in rows.items()}
        found.rows[key_map.released_name(EMBEDDINGS)] = of_tokens
    return found


def _with_rows(tensor: Tensor, rows: dict[int, Tensor], name: str) -> Tensor:
    if max(rows) >= len(tensor) or any(row.shape != tensor.shape[1:] for row in rows.values()):
        raise ValueError(
            f'the checkpoint trained the rows {sorted(rows)} of {name}, which is {tuple(tensor.shape)} in '
            'the base: it was trained on another base'
        )
    changed = tensor.clone()
    for number, row in rows.items():
        changed[number] = row.float()
    return changed


def from_upstream(state: dict[str, Tensor], scaling: float) -> TrainedTensors:
    """The trained tensors in a training checkpoint of upstream's (``.pth`` with ``mllm.model...`` names).

    Files of both its trainers are read: v1 (``projects/llava_sam2``) names embeddings and output
    matrix like any other tensor, v2 (``projects/sa2va``) as peft's ``modules_to_save``. Anything else
    that a file holds, up to a whole model, also replaces what the base has.

    Args:
        state: Its ``state_dict``; with or without embeddings and output matrix.
        scaling: ``lora_alpha / r``, which such a file does not hold.
    """
    named = (
        (_without_lora(upstream_to_released(name)), name, tensor)
        for name, tensor in state.items()
        if _FROZEN_TWIN not in name
    )
    return _collect(named, scaling)


def upstream_to_released(name: str) -> str:
    """A name of upstream's training checkpoints in the released layout.

    ``mllm.model.language_model.base_model.model.X`` -> ``language_model.X``, with or
    without peft's wrappers; one factor of the grounding encoder's memory is ``gamma`` there and ``g_weight``
    in the released layout. Of a Qwen-VL the whole native model is wrapped:
    ``mllm.model.base_model.model.X`` -> ``model.X``.
    """
    inside = name.removeprefix('mllm.model.').removeprefix(_QWEN_WRAPPER)
    if name.startswith('mllm.model.') and inside.startswith(_QWEN_PARTS):
        return plain_name(f'model.{inside}').replace(_TRAINED_COPY, '.')
    name = plain_name(name.removeprefix('mllm.model.')).replace(_UPSTREAM_WRAPPER, 'language_model.')
    name = name.replace(_TRAINED_COPY, '.')
    return name.replace('.gamma', '.g_weight') if any(fuser in name for fuser in _FUSERS) else name


def released_to_upstream(name: str, lora_targets: Sequence[str] | None) -> str:
    """The inverse of :func:`upstream_to_released`.

    Args:
        name: In the released layout.
        lora_targets: Modules that carry LoRA when that trainer loads the file, so that their own
            weight is named ``base_layer``; None for a trainer that loads it without LoRA.
    """
    if any(fuser in name for fuser in _FUSERS):
        return name.replace('.g_weight', '.gamma')
    if name.startswith('model.'):  # a Qwen-VL, which one trainer has, and loads before LoRA
        return f'mllm.{name}'
    if not name.startswith(('language_model.', 'mlp1.', 'vision_model.')):
        return name
    if lora_targets is None or not name.startswith('language_model.'):
        return f'mllm.model.{name}'
    module, _, leaf = name.removeprefix('language_model.').rpartition('.')
    is_wrapped = module.split('.')[-1] in lora_targets
    return f'mllm.model.{_UPSTREAM_WRAPPER}{module}{".base_layer" if is_wrapped else ""}.{leaf}'


def _collect(items: Iterable[tuple[str, str, Tensor]], scaling: float) -> TrainedTensors:
    found = TrainedTensors(scaling=scaling)
    halves: dict[str, dict[str, Tensor]] = {}
    for released, name, tensor in items:
        part = next((part for part in 'AB' if name.endswith(_LORA.format(part))), None)
        if part is None:
            found.replaced[released] = tensor
        else:
            halves.setdefault(released, {})[part] = tensor
    incomplete = sorted(name for name, pair in halves.items() if len(pair) != 2)
    if incomplete:
        raise ValueError(f'The checkpoint holds only one of the two LoRA matrices of {incomplete[:5]}.')
    found.lora = {name: (pair['A'], pair['B']) for name, pair in halves.items()}
    return found


def _without_lora(name: str) -> str:
    for part in 'AB':
        if name.endswith(_LORA.format(part)):
            return name.removesuffix(_LORA.format(part)) + '.weight'
    return name


def _entry(native: str, key_map: KeyMap) -> Entry:
    entry = key_map.entry_for_native(native)
    if entry is None or len(entry.released) != 1:
        raise ValueError(f'{native} has no name of its own in the released layout (checkpoints/key_map.py).')
    return entry
