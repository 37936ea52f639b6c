"""The newest checkpoint, or the pointer to it, is lost in eight ways."""

from collections.abc import Callable
from pathlib import Path

from ..campaign import Campaign, newest
from ..damage import OF_THE_FILE, OF_THE_POINTER
from ..outcome import Outcome
from ..training import ITERS_PER_UPDATE, SAVE_INTERVAL

WAYS = OF_THE_FILE + OF_THE_POINTER


def newest_checkpoint(campaign: Campaign, damage: Callable[[Path], None]) -> list[Outcome]:
    """In a work dir that has been moved: back to the newest one that is whole.

    Args:
        campaign: See there.
        damage: One of ``WAYS``.
    """
    is_lost = damage in OF_THE_FILE
    reference, last = campaign.reference(), campaign.training.updates - SAVE_INTERVAL
    ordeal = campaign.ordeal(damage.__name__, at=(last - SAVE_INTERVAL, last))
    damage(newest(ordeal.work_dir))
    if is_lost:
        ordeal.expect((last - SAVE_INTERVAL) * ITERS_PER_UPDATE, reached=last * ITERS_PER_UPDATE)
    name = damage.__name__.replace('_', ' ')
    fault = f'newest checkpoint {name}' if is_lost else name
    allowed = SAVE_INTERVAL if is_lost else 0
    return [campaign.judge(fault, 1, [ordeal], ordeal.complete(reference, '--resume'), allowed)]
