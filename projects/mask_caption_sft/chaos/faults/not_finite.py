"""A NaN in loss, gradient, input or weight."""

from collections.abc import Callable

from mmengine.runner import Runner

from ..campaign import Campaign
from ..nan_hook import PLACES, NaNHook
from ..outcome import Outcome
from ..training import ITERS_PER_UPDATE, SAVE_INTERVAL

_REFUSED = 'No update at iteration'


def refused(campaign: Campaign) -> list[Outcome]:
    """The update is not made. The run is killed after it and resumed, and ends as one that was not killed."""
    update = _spoiled_update(campaign)
    reference = campaign.reference(name='refused', arm=armed('loss', update))
    outcomes = []
    for place in PLACES[:3]:
        ordeal = campaign.ordeal(f'nan_{place}', at=(update - 1,))
        run = ordeal.start(arm=armed(place, update))
        run.wait_for(SAVE_INTERVAL + 1)
        campaign.pause(1)
        ordeal.kill(run)
        if _REFUSED not in run.log.text:
            ordeal.problems.append(f'the update was made ({run.log.path})')
        outcomes.append(campaign.judge(f'NaN in the {place}', 1, [ordeal], ordeal.complete(reference)))
    return outcomes


def spoiled_weight(campaign: Campaign) -> list[Outcome]:
    """Nothing that is not finite is saved; the run ends, and resumed it is as if that had not been."""
    update = _spoiled_update(campaign)
    ordeal = campaign.ordeal('nan_weight', at=(update - 1,))
    run = ordeal.start(arm=armed('weight', update))
    codes = run.end()
    ordeal.account(run.log)
    ordeal.require(codes, 1, run.log)
    reference = campaign.reference()
    return [campaign.judge('NaN in a weight', 1, [ordeal], ordeal.complete(reference))]


def _spoiled_update(campaign: Campaign) -> int:
    """The first update after a save, with some to come; counted from 1."""
    return campaign.training.updates // (2 * SAVE_INTERVAL) * SAVE_INTERVAL + 1


def armed(place: str, update: int) -> Callable[[int], None]:
    """Puts the hook into the run that this process is about to make, on rank 0 only."""

    def arm(rank: int) -> None:
        register = Runner.register_hooks

        def with_fault(runner: Runner, *args, **kwargs) -> None:
            register(runner, *args, **kwargs)
            if rank == 0:
                runner.register_hook(NaNHook(place, (update - 1) * ITERS_PER_UPDATE))

        Runner.register_hooks = with_fault

    return arm
