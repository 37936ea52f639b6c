"""The loop without its arithmetic: its own code runs on tensors that have shapes and no values."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from ..benchmarking.compare import at_iteration
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..sa2va import rollout
from ..sa2va.text_codec import TextCodec

_aten = torch.ops.aten


def drop_values(model: MaskCaptionSFT) -> FakeTensorMode:
    """Give a model on the meta device weights that count as a CPU's and take no memory.

    Trained weights get a gradient, as every iteration but the first of an accumulation finds one.

    Returns:
        The mode that makes tensors to go with them.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    dropped: dict[int, tuple[Tensor, Tensor]] = {}
    with mode:
        for module in model.modules():
            _drop_own(module, dropped)
        for parameter in model.student.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
    for sa2va in (model.student, model.teacher):
        sa2va.first_token_map = sa2va.text.first_token_map()
        sa2va.last_token_map = sa2va.text.last_token_map()
    model.student.remember_start()
    return mode


def _drop_own(module: nn.Module, dropped: dict[int, tuple[Tensor, Tensor]]) -> None:
    """``to_empty``, but once for what student and teacher share; a second time it fails."""
    for tensors in (module._parameters, module._buffers):
        own: dict[str, Any] = tensors
        for name, tensor in own.items():
            if tensor is None:
                continue
            if id(tensor) not in dropped:
                empty = torch.empty_like(tensor, device='cpu')
                if isinstance(tensor, nn.Parameter):
                    empty = nn.Parameter(empty, tensor.requires_grad)
                # Both are kept: another tensor could get the number of one that is gone.
                dropped[id(tensor)] = tensor, empty
            own[name] = dropped[id(tensor)][1]


def run_operation(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What an operation returns; where a value is asked for that is not there, it is one, or True.

    So every caption is worth teaching, every gate is open, and nothing is left out.
    """
    if function is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
        return args[0].fake_device  # asked for at every turn
    if function is _aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
        return torch.ones((), dtype=args[0].dtype).item()
    if function is _aten.nonzero.default and isinstance(args[0], FakeTensor):
        return torch.ones(args[0].shape).nonzero()
    if function is _aten.index.Tensor:
        args = (args[0], [place for index in args[1] for place in _places(index)])
    return function(*args, **kwargs)


def _places(index: Tensor | None) -> list[Tensor | None]:
    """A mask as the numbers of the places where it is true: fake tensors take no mask."""
    if index is None or index.dtype != torch.bool:
        return [index]
    known = torch.ones(index.shape) if isinstance(index, FakeTensor) else index
    return list(known.nonzero().unbind(1))


@contextmanager
def as_in_training(model: MaskCaptionSFT, dtype: torch.dtype | None, with_signals: bool) -> Iterator[None]:
    """Inside, the loop runs as on a GPU, under autocast to ``dtype`` if there is one.

    Args:
        model: From :func:`drop_values`.
        dtype: Of autocast.
        with_signals: Whether it is an iteration in which the cheat signals are read.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        # One rank counts alone: the others would not answer when losses are averaged over all.
        stack.enter_context(patch.object(torch.distributed, 'is_initialized', lambda: False))
        stack.enter_context(at_iteration(0 if with_signals else 1))
        if dtype is not None:
            stack.enter_context(torch.autocast('cpu', dtype))
            stack.enter_context(patch.object(nn.functional, 'layer_norm', _layer_norm_in_float32))
        words = distinct_words(model.student.text, model.num_captions)
        stack.enter_context(patch.object(rollout._Choice, '__call__', _choose_of(words)))
        yield


def _layer_norm_in_float32(
    x: Tensor, *args: Any, _layer_norm=nn.functional.layer_norm, **kwargs: Any
) -> Tensor:
    """What autocast does on a GPU and not on a CPU; not by a mode, which recomputation would not see."""
    return _layer_norm(x.float(), *args, **kwargs)


def distinct_words(text: TextCodec, at_least: int) -> list[int]:
    """Tokens that are one token wherever they are read, so many that captions of them can differ."""
    found: list[int] = []
    for piece, token_id in sorted(text.tokenizer.get_vocab().items()):
        if piece[0] == 'Ġ' and piece[1:].isalpha() and text.encode(f' {piece[1:]}') == [token_id]:
            found.append(token_id)
        if len(found) >= max(at_least, 2):
            break
    return found


def _choose_of(words: list[int]) -> Callable[[rollout._Choice, Tensor], Tensor]:
    """A caption repeats one word up to the longest length; no two of a region are alike."""
    choose = rollout._Choice.__call__

    def choose_word(self: rollout._Choice, logits: Tensor) -> Tensor:
        if not self._attempts:
            choose(self, logits)
            self._attempts.pop()
        num_regions, num_captions, _ = logits.shape
        self._attempts.append(torch.zeros(num_regions, num_captions, dtype=torch.bool))
        step = len(self._attempts) - 1
        row = [words[branch // len(words) ** step % len(words)] for branch in range(num_captions)]
        return torch.tensor(row).expand(num_regions, -1)

    return choose_word
