"""What a config's run will cost."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode

from ..backbones import backbone_of
from ..checkpoints.config import read_config
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..ops.build import build
from ..sa2va.meta import build_on_meta
from ..sa2va.recomputation import check_share, num_recomputed
from ..sa2va.released_sizes import stand_in_config
from .fake_loop import drop_values
from .layers import Layers
from .step_count import StepCount, count_step
from .weights import checkpoint_bytes, count_parameters, count_weights
from .workload import Workload, batch_of

GIB = 2**30
#: Of a card's memory, for what is not counted: CUDA itself, workspaces of kernels, the allocator's waste.
RESERVE_RATIO = 0.1
#: What the settings that decide about memory are called in a config.
SETTINGS = {
    'batch_size': 'train_dataloader.batch_size',
    'num_regions': "ChooseRegions' max_regions",
    'num_captions': 'model.num_captions',
}
CHECKPOINTING = 'model.sa2va.activation_checkpointing'
ACTIVATIONS = 'activations'
_MOST = 512


@dataclass(frozen=True)
class Cost:
    """Of one workload on one GPU.

    Attributes:
        memory: Bytes by kind.
        peak_part: The part of the step that holds the most.
        flops: FLOPs of an iteration by part, on the mix of described regions and human expressions.
    """

    memory: dict[str, int]
    peak_part: str
    flops: dict[str, float]

    @property
    def total_bytes(self) -> int:
        return sum(self.memory.values())

    @property
    def total_flops(self) -> float:
        return sum(self.flops.values())


class Estimate:
    """Costs of a config's run, counted on tensors without values; needs no GPU, no weights, no data.

    Args:
        config: Of a run of :class:`MaskCaptionSFT`. Without its base, the sizes of the released
            checkpoint that it is named after are taken, else Sa2VA-4B's.
        num_gpus: That train together.

    Attributes:
        dtype: Of autocast; None for none.
        workload: The largest step that the data allow.
        parameters: By kind and part.
        weights: Bytes that stay on a GPU from step to step, by kind.

    Raises:
        ValueError: The config trains something else.
    """

    def __init__(self, config: Config, num_gpus: int = 1) -> None:
        self.config, self.num_gpus = config, num_gpus
        kind = config.model['type']
        if not issubclass(kind, MaskCaptionSFT):
            raise ValueError(f'{kind.__name__} is not the two-stage loop; only that is estimated.')
        self._base = _base_config(config)
        self.num_layers: int = backbone_of(self._base).language_config['num_hidden_layers']
        self._built: dict[tuple[int, float], tuple[MaskCaptionSFT, FakeTensorMode]] = {}
        dtype = config.optim_wrapper.get('dtype')
        self.dtype = getattr(torch, dtype) if dtype else None
        share = check_share(config.model['sa2va'].get('activation_checkpointing', False))
        recomputed = num_recomputed(share, self.num_layers)
        self.model, _ = self._model_of(Layers(self.num_layers, recomputed))
        self.workload = Workload.of(config, self.model, recomputed)
        self.parameters = count_parameters(self.model, self.num_layers)
        shard_frozen = config.model.get('shard_frozen', False)
        self.weights = count_weights(self.model, self.num_layers, num_gpus, shard_frozen)
        self._counted: dict[tuple[Workload, bool], StepCount] = {}

    def _model_of(self, layers: Layers) -> tuple[MaskCaptionSFT, FakeTensorMode]:
        """A model with a few layers that stand for all, and what makes its inputs."""
        key = layers.num_built, layers.share_of_built
        if key not in self._built:
            base = deepcopy(self._base)
            backbone_of(base).language_config['num_hidden_layers'] = layers.num_built
            settings = {k: v for k, v in self.config.model['sa2va'].items() if k not in ('base', 'type')}
            student = build_on_meta(base, **settings | {'activation_checkpointing': layers.share_of_built})
            # Nothing is split here: in a run that would be a matter for all ranks.
            model = build({**self.config.model, 'sa2va': student, 'shard_frozen': False})
            self._built[key] = model, drop_values(model)
            model.train()
        return self._built[key]

    @property
    def checkpoint_bytes(self) -> int:
        """Of one checkpoint on disk."""
        return checkpoint_bytes(self.weights)

    def cost(self, **changes: Any) -> Cost:
        """Of the config's workload, or of one with some of its sizes changed."""
        workload = replace(self.workload, **changes)
        described = self._count(workload, speaks=False)
        flops: defaultdict[str, float] = defaultdict(float)
        kinds = [(1 - workload.expression_ratio, described)]
        if workload.expression_ratio:
            kinds.append((workload.expression_ratio, self._count(workload, speaks=True)))
        for share, count in kinds:
            for part, number in count.flops.items():
                flops[part] += share * number
            flops['cheat signals'] += share * count.signal_flops / self.model.signal_interval
        return Cost(self._memory(described), described.peak_part, dict(flops))

    def _memory(self, count: StepCount) -> dict[str, int]:
        return self.weights | {ACTIVATIONS: count.peak_bytes}

    def _count(self, workload: Workload, speaks: bool) -> StepCount:
        if (workload, speaks) not in self._counted:
            layers = Layers(self.num_layers, workload.num_recomputed)
            model, mode = self._model_of(layers)
            model.num_captions = workload.num_captions
            batch = batch_of(workload, model.student, mode, speaks)
            self._counted[workload, speaks] = count_step(model, batch, layers, self.dtype, with_signals=True)
        return self._counted[workload, speaks]

    def largest(self, setting: str, memory_bytes: float, most: int = _MOST, **changes: int) -> int:
        """The largest value of one of ``SETTINGS`` that fits so many bytes; 0 if none does.

        Args:
            setting: Its name in the workload.
            memory_bytes: The limit.
            most: No larger one is an answer.
            changes: Other sizes of the workload that are not the config's.
        """

        def bytes_of(value: int) -> int:
            return self._bytes(**{**changes, setting: value})

        return largest_that_fits(bytes_of, memory_bytes, getattr(self.workload, setting), most)

    def fewest_recomputed(self, memory_bytes: float) -> int | None:
        """How many of the language model's layers have to run again for the step to fit so many bytes.

        None if it does not fit with all of them.
        """

        def bytes_of(kept: int) -> int:
            return self._bytes(num_recomputed=self.num_layers - kept)

        if bytes_of(0) > memory_bytes:
            return None
        return self.num_layers - largest_that_fits(bytes_of, memory_bytes, self.num_layers, self.num_layers)

    def _bytes(self, **changes: Any) -> int:
        """Of the config's workload with some of its sizes changed."""
        return sum(self._memory(self._count(replace(self.workload, **changes), speaks=False)).values())


def usable_bytes(memory_gib: float) -> float:
    """What a step may take of a card's memory."""
    return memory_gib * GIB * (1 - RESERVE_RATIO)


def largest_that_fits(bytes_of: Callable[[int], int], limit: float, start: int, most: int = _MOST) -> int:
    """The largest number in ``[1, most]`` whose bytes are at most ``limit``; 0 if none is.

    Up to twice ``start`` the answer has been counted: it may be too small and is never too large. Beyond
    that nothing is counted, which would take longer the larger the step: the answer is read off the parabola
    through three sizes (a number of texts behind one image grows a little faster than in proportion).

    Args:
        bytes_of: Takes its time, so it is asked three or four times.
        limit: In bytes.
        start: Where the first size is taken.
        most: No larger number is an answer.
    """
    sizes = cache(bytes_of)
    if sizes(start) > limit:
        return _largest_counted(sizes, limit, 1, start)
    places = (1, 2, 3) if start == 1 else (start // 2, start, 2 * start)
    for place in places[1:]:
        if place > most:
            return most
        if sizes(place) > limit:
            return _largest_counted(sizes, limit, start, place)
    return min(_beyond(places, [sizes(place) for place in places], limit), most)


def _beyond(places: Sequence[int], sizes: Sequence[int], limit: float) -> int:
    """Where the parabola through three sizes reaches the limit; a line where they do not bend upwards."""
    (a, b, c), (size_a, size_b, size_c) = places, sizes
    slope = (size_c - size_b) / (c - b)
    bend = max((slope - (size_b - size_a) / (b - a)) / (c - a), 0.0)
    slope, rest = max(slope + bend * (c - b), 1.0), limit - size_c
    return c + int(2 * rest / (slope + sqrt(slope**2 + 4 * bend * rest)) + 1e-9)


def _largest_counted(sizes: Callable[[int], int], limit: float, low: int, high: int) -> int:
    """The largest that fits of ``[low, high)``, where ``high`` does not; 0 if ``low`` does not either."""
    if sizes(low) > limit:
        return 0
    while high - low > 1:
        slope = (sizes(high) - sizes(low)) / (high - low)
        guess = min(max(low + int((limit - sizes(low)) // slope), low + 1), high - 1)
        low, high = (guess, high) if sizes(guess) <= limit else (low, guess)
        if sizes(low) + slope > limit:
            break
    return low


def _base_config(config: Config) -> dict[str, Any]:
    base = config.model['sa2va'].get('base')
    if base is not None and (Path(base) / 'config.json').is_file():
        return deepcopy(read_config(base))
    return stand_in_config(base)
