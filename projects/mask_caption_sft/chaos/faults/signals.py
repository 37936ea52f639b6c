"""A scheduler's or a user's wish to stop."""

import os
import signal

from ...hooks.stop_signal_hook import EXIT_CODE
from ..campaign import Campaign
from ..outcome import Outcome
from ..training import SAVE_INTERVAL

NAMES = ('SIGTERM', 'SIGUSR1', 'SIGINT')


def each_signal(campaign: Campaign) -> list[Outcome]:
    """Each to one rank at a random moment: the run saves, ends with the code for a requeue, and goes on."""
    reference = campaign.reference()
    ordeal = campaign.ordeal('signalled', at=(2 * SAVE_INTERVAL,))
    for name in NAMES:
        run = ordeal.start()
        run.wait_for(1)
        campaign.pause(1)
        told = campaign.random.choice(run.ranks)
        assert told.pid is not None
        os.kill(told.pid, getattr(signal, name))
        codes = run.end()
        ordeal.account(run.log)
        ordeal.require(codes, EXIT_CODE, run.log)
    differing = ordeal.complete(reference)
    return [campaign.judge(', '.join(NAMES), len(NAMES), [ordeal], differing, allowed_updates=0)]
