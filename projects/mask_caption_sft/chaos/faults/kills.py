"""SIGKILL: at random moments, and in each step of a save."""

import itertools
import os
import signal
from collections.abc import Callable

from ..campaign import Campaign
from ..outcome import Outcome
from ..save_steps import SaveSteps
from ..training import ITERS_PER_UPDATE, SAVE_INTERVAL

#: Says in the output of a run in which step it was killed.
_KILLED = 'killed before the step: '


def at_random_moments(campaign: Campaign) -> list[Outcome]:
    """While it starts, in and between updates, while it saves: wherever a random moment falls."""
    reference = campaign.reference()
    ordeals, differing, done = [], [], 0
    while done < campaign.kills:
        ordeals.append(ordeal := campaign.ordeal('killed'))
        is_over = False
        while done < campaign.kills and not is_over:
            run = ordeal.start()
            left = campaign.training.updates - ordeal.newest // ITERS_PER_UPDATE
            updates = campaign.random.randrange(max(1, min(SAVE_INTERVAL + 3, left)))
            run.wait_for(updates)
            campaign.pause(updates, run)
            is_over = not ordeal.kill(run)
            done += not is_over
        differing += ordeal.compare(reference) if is_over else ordeal.complete(reference)
    return [campaign.judge('SIGKILL at a random moment', done, ordeals, differing)]


def in_each_step_of_a_save(campaign: Campaign) -> list[Outcome]:
    """Once before each step that a save makes, and half-way through each write; then the run is resumed."""
    reference = campaign.reference()
    ordeal, steps = campaign.ordeal('killed_in_save'), []
    title = 'SIGKILL in each step of a save'
    for number in itertools.count(1):
        run = ordeal.start(arm=_killer(number))
        codes = run.end()
        ordeal.account(run.log)
        if -signal.SIGKILL not in codes:  # a save has fewer steps, so the run came to its end
            ordeal.require(codes, 0, run.log)
            break
        steps.append(run.log.text.rsplit(_KILLED, 1)[1].splitlines()[0])
        print(f'{title}: before "{steps[-1]}"', flush=True)
    outcome = campaign.judge(title, len(steps), [ordeal], ordeal.compare(reference))
    if len(steps) < 10:
        outcome.problems.append(f'only {len(steps)} steps of a save were found')
    return [outcome]


def _killer(number: int) -> Callable[[int], None]:
    def act(step: int, name: str) -> None:
        if step == number:
            os.write(1, f'\n{_KILLED}{name}\n'.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(rank: int) -> None:
        if rank == 0:  # only the first process saves
            SaveSteps(act).install()

    return arm
