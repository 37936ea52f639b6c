"""Whether a launcher has started this run before, and not only this process."""

import json
import os
import socket
from pathlib import Path

from .atomic_backend import AtomicBackend

#: In the work dir: who started the run that was planned there last.
LAUNCH_NAME = '.launch'
_TORCHRUN, _SLURM = 'TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'


def is_restart(work_dir: str | Path) -> bool:
    """Whether a launcher has started this process again, after it had started a run in this work dir.

    The launcher's count alone does not say so: the start before may have crashed while Python imported, and
    the checkpoints in the work dir are then another run's.
    """
    try:
        noted = json.loads((Path(work_dir) / LAUNCH_NAME).read_text())
    except (OSError, ValueError):
        return False
    return any(
        os.environ.get(count, '0') not in ('', '0') and isinstance(noted, dict) and noted.get(count) == name
        for count, name in _launchers().items()
    )


def note_launch(work_dir: str | Path) -> None:
    """Write down who has started this run, once it is known where it starts; for :func:`is_restart`."""
    path, launchers = Path(work_dir) / LAUNCH_NAME, _launchers()
    if launchers:
        AtomicBackend().put_text(json.dumps(launchers), path)
    else:
        path.unlink(missing_ok=True)


def _launchers() -> dict[str, str]:
    """Names that stay the same when a launcher starts a run again, by the variable that counts its starts."""
    names = {}
    if _TORCHRUN in os.environ:  # a name of its own, TORCHELASTIC_RUN_ID, is often the same for all runs
        names[_TORCHRUN] = _process_name(os.getppid())
    if 'SLURM_JOB_ID' in os.environ:
        names[_SLURM] = f'{os.environ.get("SLURM_CLUSTER_NAME", "")} {os.environ["SLURM_JOB_ID"]}'
    return names


def _process_name(process: int) -> str:
    """Host, number and start of a process: numbers alone are given again."""
    try:
        stat = Path(f'/proc/{process}/stat').read_text()
    except OSError:  # no Linux
        return f'{socket.gethostname()} {process}'
    started = stat.rpartition(')')[2].split()[19]  # in ticks since the machine was booted; see proc(5)
    return f'{socket.gethostname()} {process} {started}'
