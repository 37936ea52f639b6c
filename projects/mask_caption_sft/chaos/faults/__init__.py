"""The faults, by the name under which the command line knows them."""

from collections.abc import Callable

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
    'damage': damaged.newest_checkpoint,
    'checkpoint': hostile.checkpoints,
    'base': hostile.bases,
    'dataset': hostile.datasets,
    'killed_rank': ranks.killed_rank,
    'frozen_rank': ranks.frozen_rank,
}
