"""What was trained as a PEFT adapter: a fraction of a whole model, to be loaded over its base."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import safe_open
from torch import Tensor

from .released import write_safetensors
from .trained_tensors import TrainedTensors
from .training_file import check_fingerprint

#: peft's own names, and ours for what is no LoRA: projector, mask decoder, ``text_hidden_fcs``.
CONFIG, LORA, REST = 'adapter_config.json', 'adapter_model.safetensors', 'sa2va_modules.safetensors'
_LLM, _PEFT = 'language_model.', 'base_model.model.'
#: The native model in a released Qwen-VL, and its language model in there.
_QWEN, _LLM_IN_QWEN = 'model.', 'model.language_model.'


@dataclass
class Adapter:
    """An adapter that was read.

    Attributes:
        trained: What it changes.
        base: Directory or hub id that ``adapter_config.json`` names; empty if it names none.
        fingerprint: Of the base it was trained on.
    """

    trained: TrainedTensors
    base: str
    fingerprint: str | None

    def find_base(self, given: str | None) -> str:
        """The base directory: the one given, or the one that is named.

        Raises:
            ValueError: Neither is a directory.
        """
        base = given or self.base
        if not Path(base).is_dir() or not base:
            raise ValueError(
                f'The adapter is of the base {base or "that it does not name"!r}, which is no directory '
                'here. Download it, and give its directory with --base.'
            )
        return base

    def check(self, base: str, found: str) -> None:
        """Raise ``ValueError`` if it was trained on a base with other weights."""
        check_fingerprint({'meta': {'sa2va': {'fingerprint': self.fingerprint}}}, base, found)


def is_adapter(path: str | Path) -> bool:
    """Whether a path is the folder of an adapter."""
    return (Path(path) / CONFIG).is_file()


def write_adapter(trained: TrainedTensors, folder: str | Path, base: str, fingerprint: str | None) -> None:
    """Write an adapter into an existing folder.

    ``peft`` loads its LoRA over the base's ``language_model``, or over the ``model`` of a Qwen-VL; the other
    tensors are under their names in the released layout, in the type in which they were trained.

    Args:
        trained: What training changed.
        folder: Target.
        base: Hub id, or a directory, for ``adapter_config.json``.
        fingerprint: Of the base's weights.

    Raises:
        ValueError: LoRA is elsewhere than in the language model, differs in rank, or a value is not finite.
    """
    folder = Path(folder)
    tensors = [*trained.replaced.values(), *(matrix for pair in trained.lora.values() for matrix in pair)]
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise ValueError('A trained tensor is not finite. Export an earlier checkpoint.')
    _lora_config(trained, base).save_pretrained(str(folder))
    lora = {
        f'{_peft_module(name)}.lora_{letter}.weight': matrix.contiguous()
        for name, pair in trained.lora.items()
        for letter, matrix in zip('AB', pair)
    }
    write_safetensors(lora, folder / LORA)
    rest = {name: tensor.contiguous() for name, tensor in trained.replaced.items()}
    write_safetensors(rest, folder / REST, {'format': 'pt', 'base_fingerprint': fingerprint or ''})


def read_adapter(folder: str | Path) -> Adapter:
    """An adapter that :func:`write_adapter` has written.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: It is no LoRA of a language model, or of another kind than ours.
    """
    folder = Path(folder)
    missing = [name for name in (CONFIG, LORA, REST) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{folder} lacks {", ".join(missing)}. Write the adapter again, or copy it whole.'
        )
    config = json.loads((folder / CONFIG).read_text())
    if config.get('peft_type') != 'LORA' or config.get('use_dora') or config.get('use_rslora'):
        raise ValueError(f'{folder / CONFIG} is not of a plain LoRA, which alone can be read here.')
    with safe_open(folder / LORA, 'pt') as file:
        matrices = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with safe_open(folder / REST, 'pt') as file:
        replaced = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        fingerprint = (file.metadata() or {}).get('base_fingerprint') or None
    trained = TrainedTensors(replaced, _pairs(matrices, folder), config['lora_alpha'] / config['r'])
    return Adapter(trained, config.get('base_model_name_or_path') or '', fingerprint)


def _pairs(matrices: dict[str, Tensor], folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    downs = [name for name in matrices if name.endswith('.lora_A.weight')]
    pairs = {}
    for down in downs:
        module = down.removesuffix('.lora_A.weight')
        up = f'{module}.lora_B.weight'
        if not module.startswith(_PEFT) or up not in matrices:
            raise ValueError(f'{folder / LORA}: {down} has no partner {up}, or is of another model.')
        inside = module.removeprefix(_PEFT)
        owner = _QWEN if inside.startswith(_LLM_IN_QWEN) else _LLM
        released = f'{owner}{inside}.weight'
        pairs[released] = (matrices[down], matrices[up])
    if 2 * len(pairs) != len(matrices):
        raise ValueError(f'{folder / LORA} holds tensors that are no LoRA. It is of another kind of adapter.')
    return pairs


def _peft_module(released: str) -> str:
    """``language_model.model.X.weight`` -> ``base_model.model.model.X``, over the language model alone.

    Of a Qwen-VL peft wraps the whole native model: ``model.model.language_model.X.weight`` ->
    ``base_model.model.model.language_model.X``.
    """
    owner = _QWEN if released.startswith(_QWEN + _LLM_IN_QWEN) else _LLM
    if not released.startswith(owner) or not released.endswith('.weight'):
        raise ValueError(f'{released} carries LoRA, which an adapter has only in the language model.')
    return _PEFT + released.removeprefix(owner).removesuffix('.weight')


def _lora_config(trained: TrainedTensors, base: str) -> LoraConfig:
    ranks = {down.shape[0] for down, _ in trained.lora.values()}
    if len(ranks) != 1:
        raise ValueError(
            f'The LoRA has the ranks {sorted(ranks)}; an adapter needs one rank. Export the whole model.'
            if ranks
            else 'The checkpoint has no LoRA, so there is no adapter. Export the whole model.'
        )
    rank = ranks.pop()
    modules = sorted({name.removesuffix('.weight').rsplit('.', 1)[1] for name in trained.lora})
    alpha: Any = trained.scaling * rank
    return LoraConfig(
        r=rank, lora_alpha=int(alpha) if float(alpha).is_integer() else alpha, target_modules=modules,
        base_model_name_or_path=base, task_type='CAUSAL_LM', inference_mode=True,
    )  # fmt: skip
