"""No room for a checkpoint."""

import resource

from ..campaign import Campaign, newest
from ..outcome import Outcome


def at_a_save(campaign: Campaign) -> list[Outcome]:
    """A quota: from some moment on no file of the run may grow beyond half a checkpoint (RLIMIT_FSIZE)."""
    reference, updates = campaign.reference(), campaign.training.updates
    ordeal = campaign.ordeal('full', at=(updates - 4,))
    quota = newest(ordeal.work_dir).stat().st_size // 2
    run = ordeal.start()
    run.wait_for(1)
    for process in run.ranks:
        assert process.pid is not None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (quota, quota))
    codes = run.end()
    ordeal.account(run.log)
    if 0 in codes or 'OSError' not in run.log.text:
        ordeal.problems.append(f'ended with {codes} and no OSError ({run.log.path})')
    return [campaign.judge('disk full at a save (quota)', 1, [ordeal], ordeal.complete(reference))]
