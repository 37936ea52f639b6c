"""One of two ranks is killed, or hangs, under ``tools/dist_train.sh``."""

import os
import signal
from pathlib import Path

from ...hooks.stop_signal_hook import EXIT_CODE
from ..campaign import Campaign
from ..launched_run import LaunchedRun
from ..outcome import Outcome
from ..training import SAVE_INTERVAL

#: Seconds after which ranks give up on one that hangs; more than a busy machine needs for an update.
_TIMEOUT = 90


def killed_rank(campaign: Campaign) -> list[Outcome]:
    """All of a new run start again by themselves, from its newest checkpoint, and finish."""
    training = campaign.with_processes(max(2, campaign.training.processes))
    reference = campaign.reference(training)
    ordeal = campaign.ordeal('killed_rank', training=training)
    ordeal.expect(0, reached=0)
    arguments = training.arguments(ordeal.work_dir)  # no --resume: the launcher's command is always the first
    run = LaunchedRun(training, arguments, ordeal.next_log(), max_restarts=1)
    run.wait_for(SAVE_INTERVAL + 1)
    campaign.pause(1)
    os.kill(run.ranks()[1], signal.SIGKILL)
    code = run.end()
    ordeal.account(run.log)
    ordeal.require([code], 0, run.log)
    if len(run.log.legs) != 2:
        ordeal.problems.append(f'it did not start again ({run.log.path})')
    return [
        campaign.judge('a killed rank, restarted by its launcher', 1, [ordeal], ordeal.compare(reference))
    ]


def frozen_rank(campaign: Campaign) -> list[Outcome]:
    """The others give up after the time-out, the launcher ends all, and the run can be resumed."""
    training = campaign.with_processes(max(2, campaign.training.processes))
    reference = campaign.reference(training)
    ordeal = campaign.ordeal('frozen_rank', at=(training.updates // 2,), training=training)
    settings = (f'env_cfg.dist_cfg.timeout={_TIMEOUT}',)
    arguments = training.arguments(ordeal.work_dir, '--resume', settings=settings)
    run = LaunchedRun(training, arguments, ordeal.next_log())
    run.wait_for(1)
    campaign.pause(1)
    frozen = run.ranks()[1]
    os.kill(frozen, signal.SIGSTOP)
    code = run.end()
    ordeal.account(run.log)
    if code in (0, EXIT_CODE):
        ordeal.problems.append(f'ended with {code}, as if nothing had happened ({run.log.path})')
    if Path(f'/proc/{frozen}').exists():
        ordeal.problems.append('the frozen process is still there')
    return [campaign.judge('a frozen rank', 1, [ordeal], ordeal.complete(reference))]
