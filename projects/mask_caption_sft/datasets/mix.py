"""Several datasets drawn in fixed shares; a draw's number decides its sample."""

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from torch.utils.data import Sampler

from ..structures import BrokenRecord, RegionSample
from .base import RegionDataset
from .seeding import numpy_seed
from .watched import WatchedDatasets

_BLOCK_LEN = 1000
#: Unusable records in a row after which a draw is given up.
_MAX_REPLACED = 20
#: Keys of a declaration that are meant for the mix, not for the dataset.
SHARE_KEYS = ('weight', 'repeats')


def build_dataset(name: str, declared: dict[str, Any], **overrides: Any) -> RegionDataset:
    """A dataset as it is declared in a mix, with some of its arguments replaced."""
    arguments = {k: v for k, v in declared.items() if k not in SHARE_KEYS} | overrides
    return arguments.pop('type')(name=name, **arguments)


class RegionMix(WatchedDatasets):
    """Datasets by name, each with its share of the draws.

    Draws are numbered; the same number always gives the same sample, crops and chosen
    regions included, so a run can be resumed at any draw. Within each block of 1000 draws the
    shares are exact, in a shuffled order. Each dataset is gone through without repetition, in
    a new order each time.

    Args:
        datasets: ``{name: dict(type=..., weight=1.0, repeats=1, ...)}``; ``None`` leaves one out.
            Weights are relative and decide the shares, whatever the sizes. Without any
            weight the shares follow the number of records times ``repeats``.
        epoch_len: Draws that count as an epoch; by default the number of all records, each
            dataset counted ``repeats`` times.
        seed: Seed of the shuffling and of the draws, a whole number that all ranks share.

    Raises:
        ValueError: No dataset is left, a weight or ``repeats`` is not positive, only some
            datasets have a weight, or there is no seed.
    """

    def __init__(
        self,
        datasets: dict[str, dict[str, Any] | None],
        epoch_len: int | None = None,
        seed: int = 0,
    ) -> None:
        kept = {name: config for name, config in datasets.items() if config is not None}
        if not kept:
            raise ValueError(
                'The mix has no dataset left. Keep at least one in train_dataloader.dataset.datasets.'
            )
        if seed is None or seed < 0:
            raise ValueError(
                f'The mix has seed={seed}. A resumed run and all ranks must make the same draws: '
                'set train_dataloader.dataset.seed to a whole number, 0 or larger.'
            )
        weights: dict[str, Any] = {name: config.get('weight') for name, config in kept.items()}
        repeats = {name: config.get('repeats', 1) for name, config in kept.items()}
        _check_shares(weights, repeats)
        super().__init__({name: build_dataset(name, config) for name, config in kept.items()})
        lengths = {name: len(dataset) * repeats[name] for name, dataset in self.datasets.items()}
        self.seed = seed
        has_weights = None not in weights.values()
        self.counts = _block_counts(list(weights.values() if has_weights else lengths.values()))
        self.epoch_len = epoch_len or sum(lengths.values())
        self._block = lru_cache(maxsize=4)(self._make_block)
        print_log(f'The mix:\n{self.describe()}', 'current')

    def __len__(self) -> int:
        return self.epoch_len

    def describe(self) -> str:
        """A table of records, share, and passes per epoch."""
        lines = [f'{"dataset":<16}{"records":>10}{"share":>8}{"passes per epoch":>18}']
        for (name, dataset), count in zip(self.datasets.items(), self.counts):
            share = count / _BLOCK_LEN
            passes = share * self.epoch_len / len(dataset)
            lines.append(f'{name:<16}{len(dataset):>10}{share:>8.1%}{passes:>18.2f}')
        return '\n'.join(lines)

    def fingerprint(self) -> dict[str, Any]:
        """What decides which record a draw is; plain values, for a checkpoint."""
        return {
            name: dict(
                records=len(dataset), draws_per_block=count, names=dataset.names_digest(), seed=self.seed
            )
            for (name, dataset), count in zip(self.datasets.items(), self.counts)
        }

    def locate(self, draw: int, ahead: int = 0) -> tuple[str, int]:
        """Dataset and record of a draw, or of the dataset's draw so many further on."""
        block, position = divmod(draw, _BLOCK_LEN)
        which, nth = self._block(block)[position]
        name = list(self.datasets)[which]
        turn, step = divmod(block * self.counts[which] + nth + ahead, len(self.datasets[name]))
        return name, _shuffled(step, len(self.datasets[name]), (self.seed, which, turn))

    def __getitem__(self, draw: int) -> RegionSample | BrokenRecord:
        """The sample of a draw; an unusable record is replaced by the next of its dataset that is not."""
        unusable: list[BrokenRecord] = []
        for ahead in range(_MAX_REPLACED + 1):
            name, index = self.locate(draw, ahead)
            with numpy_seed(self.seed, draw, *([ahead] if ahead else [])):
                sample = self.read(name, index)
            if not (isinstance(sample, BrokenRecord) and sample.is_unusable):
                break
            unusable.append(sample)
        else:
            unusable.pop()  # the last one is the sample
        sample.instead_of = unusable
        return sample

    def _make_block(self, block: int) -> list[tuple[int, int]]:
        labels = np.repeat(np.arange(len(self.counts)), self.counts)
        np.random.default_rng((self.seed, block)).shuffle(labels)
        numbers = [itertools.count() for _ in self.counts]
        return [(which, next(numbers[which])) for which in labels.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        # The cache holds a bound method; a spawned worker makes its own.
        return {key: value for key, value in vars(self).items() if key != '_block'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._block = lru_cache(maxsize=4)(self._make_block)


def changed_data(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two fingerprints of a mix, a sentence each."""
    if list(then) != list(now):
        return [f'the mix was of {", ".join(then)} and is of {", ".join(now)}.']
    texts = dict(
        records='the number of records was {} and is {}.',
        draws_per_block='its share of a thousand draws was {} and is {}.',
        seed='the seed of the mix was {} and is {}.',
        names='its records have other names, or another order.',
    )
    return [
        f'{name}: {text.format(then[name].get(key), now[name][key])}'
        for name in now
        for key, text in texts.items()
        if then[name].get(key) != now[name][key]
    ]


def _check_shares(weights: dict[str, float | None], repeats: dict[str, float]) -> None:
    without = [name for name, weight in weights.items() if weight is None]
    if without and len(without) < len(weights):
        raise ValueError(f'Datasets {without} have no weight and others do. Give all of them one, or none.')
    wrong = {name: weight for name, weight in weights.items() if weight is not None and not weight > 0}
    if wrong:
        raise ValueError(f'Weights must be positive, got {wrong}. Set a dataset to None to leave it out.')
    wrong = {name: count for name, count in repeats.items() if count != int(count) or count < 1}
    if wrong:
        raise ValueError(f'repeats must be positive whole numbers, got {wrong}.')


def _block_counts(weights: list[float]) -> list[int]:
    """Draws of each dataset per block, by the method of largest remainders; at least one each."""
    exact = [weight / sum(weights) * _BLOCK_LEN for weight in weights]
    counts = [max(1, math.floor(value)) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: math.floor(exact[i]) - exact[i])
    for i in itertools.islice(itertools.cycle(by_remainder), max(0, _BLOCK_LEN - sum(counts))):
        counts[i] += 1
    counts[counts.index(max(counts))] -= max(0, sum(counts) - _BLOCK_LEN)
    return counts


def _shuffled(step: int, length: int, key: tuple[int, ...]) -> int:
    """Where ``step`` goes in a random permutation of ``range(length)``, without storing the permutation.

    A Feistel network permutes the next power of four; a value outside the range is
    sent through again until it falls inside.
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = np.random.SeedSequence(key).generate_state(6).tolist()
    value = step
    while True:
        left, right = value >> half, value & mask
        for round_key in keys:
            mixed = ((right ^ round_key) * 0x9E3779B1) & 0xFFFFFFFF
            left, right = right, left ^ ((mixed ^ mixed >> 15) * 0x85EBCA6B >> 7 & mask)
        value = left << half | right
        if value < length:
            return value


class DrawSampler(Sampler):
    """Draw numbers 0, 1, 2, ... without end, shared out among the ranks.

    Its length is that of an epoch, for schedules that count epochs.

    Args:
        dataset: A :class:`RegionMix`.
        start: First draw.
    """

    def __init__(self, dataset: RegionMix, start: int = 0, **kwargs: Any) -> None:
        self.dataset, self.start = dataset, start
        self.rank, self.world_size = get_dist_info()

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start + self.rank, self.world_size)

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: draws simply go on from one epoch to the next."""


class RegionConcat(WatchedDatasets):
    """Datasets one after the other, in order, for validation.

    Args:
        datasets: ``{name: dict(type=...)}``, as a mix declares them; every record is read once, whatever
            ``weight`` and ``repeats`` say. ``None`` leaves one out.
        seed: Seed of the draws within a record (crops, chosen regions) for datasets that state none,
            so that every validation sees the same.
    """

    def __init__(self, datasets: dict[str, dict[str, Any] | None], seed: int = 0) -> None:
        kept = {name: config for name, config in datasets.items() if config is not None}
        super().__init__({name: build_dataset(name, {'seed': seed, **kept[name]}) for name in kept})
        self.items = [(name, i) for name, dataset in self.datasets.items() for i in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> RegionSample | BrokenRecord:
        return self.read(*self.items[index])
