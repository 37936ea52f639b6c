"""The work and the memory of one step, counted with a few of the language model's layers."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..benchmarking.flops import flops_of
from ..benchmarking.live_bytes import LiveBytes
from ..benchmarking.parts import current_part, named_methods
from ..loop import mask_caption_sft
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..loop.step import Step
from ..sa2va import rollout
from ..structures import RegionBatch
from .fake_loop import as_in_training, run_operation
from .layers import Layers

BACKWARD = 'backward, recomputation included'


@dataclass
class StepCount:
    """What one step costs.

    Attributes:
        flops: By part; a multiplication and an addition are two, attention counts as if every token saw
            every other.
        signal_flops: On top, in an iteration in which the cheat signals are read.
        peak_bytes: The most that the step holds at one time beside weights, gradients and moments.
        peak_part: Where that is.
    """

    flops: Counter[str] = field(default_factory=Counter)
    signal_flops: float = 0
    peak_bytes: int = 0
    peak_part: str = ''


def count_step(
    model: MaskCaptionSFT,
    batch: RegionBatch,
    layers: Layers,
    dtype: torch.dtype | None = None,
    with_signals: bool = False,
) -> StepCount:
    """Run a step's forward and backward pass without values, and count.

    The layers of a language model are alike, but for those that run again in the backward pass. So one or
    two are built of each kind, each operation and each byte is charged to the layer that makes it, and one
    layer stands for all others of its kind.

    Args:
        model: From :func:`drop_values`, with ``layers.num_built`` layers, of which ``layers.share_of_built``
            run again; in train mode.
        batch: Its pixels are without values too.
        layers: Of the language model that is meant.
        dtype: Of autocast; None for none.
        with_signals: Count an iteration in which the cheat signals are read: it holds the most.
    """
    counter = _Counter(layers)
    with ExitStack() as stack:
        stack.enter_context(as_in_training(model, dtype, with_signals))
        if with_signals:
            stack.enter_context(counter.signals_apart(model, batch))
        stack.enter_context(named_methods(model.objectives, with_own_name=False))
        stack.enter_context(named_methods({'student': model.student, 'teacher': model.teacher}))
        stack.enter_context(counter.one_token_for_all())
        for sa2va in (model.student, model.teacher):
            stack.enter_context(counter.watching(sa2va.language_model.layers))
        with counter:
            total, _ = model.parse_losses(model.loss(batch))
            counter.is_backward = True
            total.backward()
    return counter.count


class _Counter(TorchDispatchMode):
    """Runs operations without values; adds up their FLOPs and what their results take."""

    supports_higher_order_operators = True

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.count, self._kinds = StepCount(), layers.kinds()
        self.is_backward = False
        self._memory = LiveBytes()
        #: The layer that runs or ran last; and whether it is running.
        self._layer, self._is_inside = 0, False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = run_operation(function, args, kwargs or {})
        if flops := flops_of(function, args, kwargs or {}, result):
            self.count.flops[self._part()] += round(flops * (self._repeats() if self._is_inside else 1))
        self._memory.owner = self._layer if self._is_inside else None
        self._memory.note(result, (args, kwargs))
        held = self._held()
        if held > self.count.peak_bytes:
            self.count.peak_bytes, self.count.peak_part = held, self._part()
        return result

    def _part(self) -> str:
        return BACKWARD if self.is_backward else current_part()

    def _repeats(self) -> float:
        """For how many layers the one that runs stands."""
        return next(count / len(built) for count, built in self._kinds if self._layer in built)

    def _held(self) -> int:
        """Bytes at this moment: of its kind the layer that runs counts once, the other one for the rest; of
        the other kind both count for all."""
        held = self._memory.held
        total = float(held[None])
        for count, built in self._kinds:
            others = [number for number in built if number != self._layer]
            if self._layer in built:
                total += held[self._layer]
                count -= 1
            total += sum(held[number] for number in others) * count / max(len(others), 1)
        return round(total)

    @contextmanager
    def watching(self, layers: nn.ModuleList) -> Iterator[None]:
        """Inside, what runs in one of the layers, and on the way back through it, is charged to it."""
        with ExitStack() as stack:
            for number, layer in enumerate(layers):
                enter = self._enter(number)
                # Before the last layer's own hook, which runs a part of it.
                hook = layer.register_forward_pre_hook(enter, with_kwargs=True, prepend=True)
                stack.callback(hook.remove)
                # Recomputation may leave a layer by an exception, once it has all it needs.
                leave = self._leave(number)
                stack.callback(layer.register_forward_hook(leave, always_call=True).remove)
            yield

    def _enter(self, number: int) -> Callable:
        def hook(layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            if not self.is_backward:
                if number == 0:
                    self._at_gradient((args, kwargs), 0, is_inside=False)
                self._layer, self._is_inside = number, True

        return hook

    def _leave(self, number: int) -> Callable:
        def hook(layer: nn.Module, args: tuple, result: Any) -> None:
            if not self.is_backward:
                self._is_inside = False
                self._at_gradient(result, number, is_inside=True)

        return hook

    def _at_gradient(self, values: Any, number: int, is_inside: bool) -> None:
        """When the gradient of a tensor is there, the way back enters a layer, or leaves the first."""

        def hook(gradient: Tensor) -> None:
            self._layer, self._is_inside = number, is_inside

        tensor = next(value for value in tree_leaves(values) if isinstance(value, Tensor))
        if tensor.requires_grad:
            tensor.register_hook(hook)

    @contextmanager
    def signals_apart(self, model: MaskCaptionSFT, batch: RegionBatch) -> Iterator[None]:
        """Inside, what is there for the signals only is charged to them: their texts, and first views."""
        read, encoder = mask_caption_sft.read_signals, model.student.grounding_encoder.vision_encoder
        extra_ratio = 1 - len(batch.image_index2.unique()) / len(batch.image_ids)
        before: Counter[str] = Counter()

        def read_apart(step: Step) -> None:
            start = self.count.flops.copy()
            read(step)
            self.count.signal_flops += (self.count.flops - start).total()
            self.count.flops = start

        def enter(*args: Any) -> None:
            before.update(self.count.flops)

        def leave(*args: Any) -> None:
            for name, flops in (self.count.flops - before).items():
                self.count.flops[name] -= round(extra_ratio * flops)
                self.count.signal_flops += extra_ratio * flops

        with ExitStack() as stack:
            stack.enter_context(patch.object(mask_caption_sft, 'read_signals', read_apart))
            stack.callback(encoder.register_forward_pre_hook(enter).remove)
            stack.callback(encoder.register_forward_hook(leave).remove)
            yield

    @contextmanager
    def one_token_for_all(self) -> Iterator[None]:
        """Inside, one token of the captions is written; each further one costs as much and is not run."""
        step = rollout._Branches.step
        first: dict[int, tuple[rollout._Branches, Tensor, Counter[str]]] = {}

        def step_once(self_: rollout._Branches, *args: Any) -> Tensor:
            if id(self_) not in first:
                before = self.count.flops.copy()
                states = step(self_, *args)
                first[id(self_)] = self_, states, self.count.flops - before
            else:
                self.count.flops += first[id(self_)][2]
            return first[id(self_)][1]

        with patch.object(rollout._Branches, 'step', step_once):
            yield
