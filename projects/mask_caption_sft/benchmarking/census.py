"""What one training step costs: calls, tokens, FLOPs and memory, counted and not timed."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..loop.mask_caption_sft import MaskCaptionSFT
from ..ops.precision import without_gradient
from ..sa2va.sa2va import Sa2VA
from ..structures import Piece
from .flops import flops_of
from .live_bytes import LiveBytes
from .parts import current_part, named_methods

LANGUAGE_MODEL = 'language model'
VIT, SAM2_ENCODER, MASK_DECODER = 'ViT', 'SAM 2 encoder', 'mask decoder'
PROJECTOR, LM_HEAD, OTHER = 'projector', 'output matrix', 'other'
FORWARD, RECOMPUTED, BACKWARD = 'forward', 'recomputed', 'backward'


@dataclass(frozen=True)
class Call:
    """One call of a module in the forward pass.

    Attributes:
        part: The part of the step that made it, see :func:`part`.
        module: One of the names above.
        rows: Sequences; tiles for the ViT, images for SAM 2's encoder, masks for its decoder.
        length: Tokens of each row, padding included; 1 where a row has none.
        num_padding: Tokens of all rows that are padding.
        with_gradient: Whether a backward pass follows.
    """

    part: str
    module: str
    rows: int
    length: int
    num_padding: int
    with_gradient: bool


@dataclass
class Census:
    """The costs of one step.

    Attributes:
        calls: Of the forward pass, in their order. Recomputation is not among them.
        flops: By (phase, part, module). The backward passes of the language model belong to the part that
            called it; of all other modules they, and what they run again, are together under the part ''
            and the module 'other'. A
            multiplication and an addition are two; attention counts as if every token saw every other.
        peak_bytes: The most memory that tensors made in the step took at one time, gradients included.
        prompt_flops: FLOPs of the language model's layers for the describe prompts: the unit F.
    """

    calls: list[Call] = field(default_factory=list)
    flops: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    peak_bytes: int = 0
    prompt_flops: int = 0

    def parts(self) -> list[str]:
        """Names of the parts in which something was called, in their order."""
        return list(dict.fromkeys(call.part for call in self.calls))

    def calls_of(self, part: str | None = None, module: str = LANGUAGE_MODEL) -> list[Call]:
        """The calls of a module, of one part or of all."""
        return [call for call in self.calls if call.module == module and part in (None, call.part)]

    def tokens(self, part: str | None = None) -> int:
        """Tokens through the language model, padding included, recomputation not."""
        return sum(call.rows * call.length for call in self.calls_of(part))

    def padding_ratio(self, part: str | None = None) -> float:
        """The share of them that is padding; 0 without tokens."""
        return sum(call.num_padding for call in self.calls_of(part)) / max(self.tokens(part), 1)

    def total(self, phase: str | None = None, part: str | None = None, module: str | None = None) -> int:
        """FLOPs of a phase, a part, a module; None for all."""
        asked = (phase, part, module)
        return sum(n for key, n in self.flops.items() if all(a in (None, k) for a, k in zip(asked, key)))

    def forward_equivalents(self, part: str | None = None) -> float:
        """Work of the language model's layers in all phases, over that of the describe prompts: F."""
        return self.total(None, part, LANGUAGE_MODEL) / self.prompt_flops


def take_census(
    model: MaskCaptionSFT, models: Sequence[Sa2VA], loss: Callable[[], Tensor], prompt_flops: int
) -> Census:
    """Run a step's forward and backward pass and count.

    Work is charged to parts by name: the objective that asks for it, and the public method of student or
    teacher that does it. A step of another kind names its parts itself, with :func:`part`.

    Args:
        model: Whose objectives, student and teacher are named.
        models: Everything that the step runs, student first.
        loss: Gives the step's total.
        prompt_flops: The unit F, see :func:`count_prompts`.
    """
    census = Census(prompt_flops=prompt_flops)
    with ExitStack() as stack:
        stack.enter_context(named_methods(model.objectives, with_own_name=False))
        stack.enter_context(named_methods({'student': model.student, 'teacher': model.teacher}))
        book = _Book(census)
        for sa2va in models:
            stack.enter_context(book.watching(sa2va))
        with book:
            total = loss()
            book.is_backward = True
            total.backward()
    census.peak_bytes = book.memory.peak
    return census


@without_gradient()
def count_prompts(student: Sa2VA, prompts: Sequence[Piece]) -> int:
    """FLOPs of the language model's layers for embedded prompts, one by one."""
    census = Census()
    book = _Book(census)
    with book.watching(student), book:
        for prompt in prompts:
            student.language_model(inputs_embeds=prompt.embeds.detach()[None], use_cache=False)
    return census.total(module=LANGUAGE_MODEL)


class _Book(TorchDispatchMode):
    """Charges each operation's FLOPs and memory to what is running.

    PyTorch's ``FlopCounterMode`` would hold every module's tensors until the garbage collector runs.
    """

    supports_higher_order_operators = True

    def __init__(self, census: Census) -> None:
        super().__init__()
        self.census = census
        self.memory = LiveBytes()
        self.is_backward = False
        self._modules: list[str] = []
        self._watched: set[int] = set()
        #: The part whose pass of the language model is on its way back; None between passes.
        self._returning: str | None = None

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if spent := flops_of(function, args, kwargs or {}, result):
            self.census.flops[self._key()] += spent
        self.memory.note(result, (args, kwargs))
        return result

    def _key(self) -> tuple[str, str, str]:
        if not self.is_backward:
            return FORWARD, current_part(), self._modules[-1] if self._modules else OTHER
        # Forward hooks fire in a backward pass only where a layer is recomputed.
        phase = RECOMPUTED if self._modules else BACKWARD
        return (phase, '', OTHER) if self._returning is None else (phase, self._returning, LANGUAGE_MODEL)

    @contextmanager
    def watching(self, sa2va: Sa2VA) -> Iterator[None]:
        """Inside, what runs in one of a model's modules is charged to it; student and teacher share some."""
        with ExitStack() as stack:
            for name, modules in _modules_of(sa2va).items():
                if id(modules[0]) in self._watched:
                    continue
                self._watched.add(id(modules[0]))
                for module in modules:
                    enter = self._enter(name, module is modules[0])
                    leave = self._leave(name, module is modules[-1])
                    hook = module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True)
                    stack.callback(hook.remove)
                    # Recomputation may leave a layer by an exception, once it has all it needs.
                    stack.callback(module.register_forward_hook(leave, always_call=True).remove)
            yield

    def _enter(self, name: str, is_first: bool) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            self._modules.append(name)
            if is_first and not self.is_backward:
                self.census.calls.append(_call(name, args, kwargs))
                if name == LANGUAGE_MODEL:
                    self._at_gradient(_first_tensor(args, kwargs), None)

        return hook

    def _leave(self, name: str, is_last: bool) -> Callable:
        def hook(module: nn.Module, args: tuple, result: Any) -> None:
            self._modules.pop()
            if name == LANGUAGE_MODEL and is_last and not self.is_backward:
                self._at_gradient(_first_tensor((result,), {}), current_part())

        return hook

    def _at_gradient(self, tensor: Tensor, returning: str | None) -> None:
        """When the gradient of a tensor is there, a pass of the language model begins or ends its way back.

        Passes return one after the other, the last first, so no two are on their way at once.
        """

        def hook(gradient: Tensor) -> None:
            self._returning = returning

        if tensor.requires_grad:
            tensor.register_hook(hook)


def _modules_of(sa2va: Sa2VA) -> dict[str, list[nn.Module]]:
    """What is watched, by name; a call of the first of several is a call of all."""
    decoder: Any = sa2va.grounding_encoder.mask_decoder
    return {
        LANGUAGE_MODEL: list(sa2va.language_model.layers),
        LM_HEAD: [sa2va.mllm.lm_head],
        PROJECTOR: [sa2va.projector],
        VIT: [sa2va.backbone.vision_encoder(sa2va.mllm)],
        SAM2_ENCODER: [sa2va.grounding_encoder.vision_encoder],
        MASK_DECODER: [decoder, decoder.conv_s0, decoder.conv_s1],
    }


def _call(name: str, args: tuple, kwargs: dict[str, Any]) -> Call:
    given = _first_tensor(args, kwargs)
    length = given.shape[1] if given.dim() == 3 else 1
    num_padding = _num_padding(given) if name == LANGUAGE_MODEL else 0
    return Call(current_part(), name, len(given), length, num_padding, torch.is_grad_enabled())


def _first_tensor(args: tuple, kwargs: dict[str, Any]) -> Tensor:
    return next(value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))


def _num_padding(embeds: Tensor) -> int:
    """Tokens of ``[R, L, D]`` that are padding, which is embedded as zeros."""
    return int((embeds == 0).all(-1).sum())
