"""Runs that end on purpose, and how their launcher learns of it."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from mmengine.dist import barrier

#: A file that ``tools/dist_train.sh`` looks at, because torchrun gives no exit code of a process on.
_REPORT = 'MASK_CAPTION_SFT_STOPPED'


class RunEndedError(RuntimeError):
    """A run was stopped for a reason that a start from its newest checkpoint would meet again."""


def tell_launcher(reason: str) -> bool:
    """Write why this process ends into the launcher's report; False if no launcher asks for one.

    The process then has to end with 0: torchrun would start any other again. ``tools/dist_train.sh`` ends
    with 1 for a reason that begins with ``error:``, and with 75 for any other.
    """
    report = os.environ.get(_REPORT)
    if report:
        Path(report).write_text(f'{reason}\n')
    return bool(report)


def end_for_good(error: Exception) -> NoReturn:
    """End this process, on all ranks alike, so that ``MAX_RESTARTS`` does not start it again.

    Args:
        error: Why; every rank has raised it.
    """
    reason = f'error: {error}'
    barrier()  # a launcher may end all ranks as soon as one has ended
    if not tell_launcher(reason):
        sys.exit(reason)
    print(reason, file=sys.stderr, flush=True)
    sys.exit(0)
