"""The faults, by the name under which the command line knows them."""

from collections.abc import Callable
from functools import partial

from ..campaign import Campaign
from ..outcome import Outcome
from . import damaged, full_disk, hostile, kills, not_finite, ranks, signals

FAULTS: dict[str, Callable[[Campaign], list[Outcome]]] = {
    'kill': kills.at_random_moments,
    'save': kills.in_each_step_of_a_save,
    'signal': signals.each_signal,
    'nan': not_finite.refused,
    'weight': not_finite.spoiled_weight,
    'disk': full_disk.at_a_save,
    **{way.__name__: partial(damaged.newest_checkpoint, damage=way) for way in damaged.WAYS},
    'checkpoint': hostile.checkpoints,
    'base': hostile.bases,
    'dataset': hostile.datasets,
    'killed_rank': ranks.killed_rank,
    'frozen_rank': ranks.frozen_rank,
}
#: Updates that a training needs, for these two and for all others.
LONG, LONG_UPDATES, SHORT_UPDATES = ('save', 'signal'), 16, 8
