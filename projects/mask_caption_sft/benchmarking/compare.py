"""The step of the loop against the plain step: in one process, on the same weights and batch, in turns."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from ..loop.mask_caption_sft import MaskCaptionSFT
from ..sa2va.sa2va import Sa2VA
from ..structures import RegionBatch
from .census import BACKWARD, Census, count_prompts, take_census
from .parts import named_methods, part, timed_parts
from .plain_step import PlainStep

PLAIN, OURS = 'plain', 'ours'


@dataclass
class StepCosts:
    """What one kind of step costs.

    Attributes:
        census: Counted in one step.
        weight_bytes: All weights that it needs, of student, teacher and start.
        seconds: Of each timed step, forward and backward pass.
        cpu_seconds: What the process itself computed in them, on all its threads: on a CPU that is busy with
            other work too, the better measure. Empty on a GPU.
        part_seconds: Of each timed step, by part; the whole way back is the part 'backward'.
        peak_bytes: Of each timed step, over what was there before, by CUDA's allocator. Empty on a CPU.
    """

    census: Census
    weight_bytes: int
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    part_seconds: list[dict[str, float]] = field(default_factory=list)

    def last_in_words(self) -> str:
        """The last timed step."""
        own = f', {self.cpu_seconds[-1]:.1f} of them its own' if self.cpu_seconds else ''
        return f'{self.seconds[-1]:.1f} s{own}'

    def memory(self) -> int:
        """Weights and the most that a step holds beside them: measured on a GPU, counted elsewhere."""
        return self.weight_bytes + max(self.peak_bytes or [self.census.peak_bytes])


def compare_steps(
    model: MaskCaptionSFT, batch: RegionBatch, num_pairs: int, note: Callable[[str], None] = lambda text: None
) -> dict[str, StepCosts]:
    """Both steps, counted once and then timed in turns, plain first.

    In the plain step all layers run again in the backward pass, whatever the model's setting is.

    Args:
        model: In train mode. Weights in half precision run under autocast, as in training.
        batch: What both steps are given.
        num_pairs: Of timed steps. The counted steps before them warm up.
        note: Is told what has been done.
    """
    plain = PlainStep(model)
    losses = {PLAIN: all_layers_again(model.student)(plain.loss), OURS: model.loss}
    models = {PLAIN: [model.student, plain.teacher], OURS: [model.student, model.teacher]}
    unit = _describe_flops(model, batch)
    costs = {}
    with without_signals():
        for name in (PLAIN, OURS):
            _forget(model)
            census = take_census(model, models[name], _total(model, losses[name], batch), unit)
            costs[name] = StepCosts(census, _weight_bytes(models[name]))
            note(
                f'{name}: counted, {census.total() / 1e12:.3g} TFLOP, {costs[name].memory() / 2**20:,.0f} MiB'
            )
        for _ in range(num_pairs):
            for name in (PLAIN, OURS):
                _time(model, _total(model, losses[name], batch), costs[name])
                note(f'{name}: {costs[name].last_in_words()}')
    return costs


def without_signals() -> AbstractContextManager:
    """Inside, the iteration is one in which the cheat signals are not read, as nearly all are."""
    return at_iteration(1)


@contextmanager
def at_iteration(number: int) -> Iterator[None]:
    """Inside, the run is at an iteration; the signals are read at number 0."""
    info = MessageHub.get_current_instance().runtime_info
    before = info.get('iter', 0)
    info['iter'] = number
    try:
        yield
    finally:
        info['iter'] = before


@contextmanager
def all_layers_again(student: Sa2VA) -> Iterator[None]:
    """Inside, no layer of the student's language model keeps its activations; also a decorator."""
    share = student.activation_checkpointing
    student.activation_checkpointing = True
    student.train(student.training)
    try:
        yield
    finally:
        student.activation_checkpointing = share
        student.train(student.training)


def median_ratio(costs: dict[str, StepCosts], measure: str = 'seconds') -> float:
    """How many times longer the plain step takes: the median of the pairs' ratios.

    Args:
        costs: Of both steps.
        measure: ``'seconds'`` or ``'cpu_seconds'``.
    """
    pairs = zip(getattr(costs[PLAIN], measure), getattr(costs[OURS], measure))
    return statistics.median(plain / ours for plain, ours in pairs)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs per second of a large square product: the best of ten."""
    side = 8192 if device.type == 'cuda' else 1024
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        start = _now(device)
        left @ right
        seconds.append(_now(device) - start)
    return 2 * side**3 / min(seconds)


def _total(model: MaskCaptionSFT, loss: Callable, batch: RegionBatch) -> Callable[[], Tensor]:
    def total() -> Tensor:
        with _autocast(model):
            return model.parse_losses(loss(batch))[0]

    return total


def _autocast(model: MaskCaptionSFT) -> AbstractContextManager:
    dtype = model.student.embedding.dtype
    return nullcontext() if dtype == torch.float32 else torch.autocast(model.student.device.type, dtype)


def _time(model: MaskCaptionSFT, loss: Callable[[], Tensor], costs: StepCosts) -> None:
    """Time a step and, on a GPU, measure what it takes; on a CPU its own share of the processor."""
    _forget(model)
    device = model.student.device
    before = 0
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    start, cpu_start = _now(device), time.process_time()
    with ExitStack() as stack:
        stack.enter_context(named_methods(model.objectives, with_own_name=False))
        stack.enter_context(named_methods({'student': model.student, 'teacher': model.teacher}))
        # Not waiting for a GPU, whose kernels would be charged to later parts: there it is what Python took.
        parts = stack.enter_context(timed_parts(time.perf_counter))
        total = loss()
        with part(BACKWARD):
            total.backward()
    costs.part_seconds.append(parts)
    costs.seconds.append(_now(device) - start)
    if device.type == 'cuda':
        costs.peak_bytes.append(torch.cuda.max_memory_allocated(device) - before)
    else:
        costs.cpu_seconds.append(time.process_time() - cpu_start)


def _now(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _forget(model: MaskCaptionSFT) -> None:
    model.zero_grad(set_to_none=True)
    torch.manual_seed(0)


def _describe_flops(model: MaskCaptionSFT, batch: RegionBatch) -> int:
    described = [row for row, text in enumerate(batch.expressions) if text is None]
    with torch.no_grad(), _autocast(model):
        prompts = model.student.describe_prompts(model.student.look(batch[described])[0])
        return count_prompts(model.student, prompts)


def _weight_bytes(models: list[Sa2VA]) -> int:
    tensors = [tensor for model in models for tensor in (*model.parameters(), *model.buffers())]
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    start = models[0].start_weights
    return sum(storages.values()) + (start.num_bytes if start is not None else 0)
