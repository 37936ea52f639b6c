"""Where, when and how a run was made, saved by the run itself."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size
from mmengine.utils.dl_utils import collect_env

from ..engine.atomic_backend import AtomicBackend

#: Beside the log of each start of a run.
FILE = 'run.json'
_ROOT = Path(__file__).resolve().parents[3]


@dataclass
class RunRecord:
    """One start of a run.

    Attributes:
        command: As it was typed, and on how many processes it ran.
        commit: Of this repository; ends with ``-dirty`` if files were changed.
        environment: Versions, devices and settings of the machine, by name.
        started, ended: Seconds since 1970; ``ended`` is None while it runs, and stays so if it was killed.
        limits: Where signs of cheating began, see ``loop.cheat_signs.CheatLimits``.
        named: Signs that were named while it trained.
        logged: When its log was last written to; found as the record is read.
    """

    command: str = ''
    commit: str = ''
    environment: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    ended: float | None = None
    limits: dict[str, float] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    logged: float | None = None

    def save(self, folder: str | Path) -> None:
        """Write it into the folder of the start's log."""
        AtomicBackend().put_text(json.dumps(asdict(self), indent=1), Path(folder) / FILE)


def record_of_this_process(limits: Mapping[str, float]) -> RunRecord:
    """What is known when a run starts."""
    size = get_world_size()
    command = shlex.join(['python', *sys.argv])
    return RunRecord(
        command=command if size == 1 else f'{command}  (on {size} processes)',
        commit=commit(),
        environment={name: str(value) for name, value in collect_env().items()},
        started=time.time(),
        limits=dict(limits),
    )


def commit() -> str:
    """The commit of this repository, with ``-dirty`` behind it if files differ; ``'unknown'`` without git."""
    command = ['git', '-C', str(_ROOT), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return found.stdout.strip()


def read_records(work_dir: str | Path) -> list[RunRecord]:
    """Every start of a run, oldest first; empty for a run from before they were recorded.

    Raises:
        ValueError: A record is not as it was written.
    """
    found = []
    for path in sorted(Path(work_dir).glob(f'*/{FILE}')):
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            logs = [log.stat().st_mtime for log in path.parent.glob('*.log')]
            found.append(RunRecord(**content | dict(logged=max(logs, default=None))))
        except (ValueError, TypeError) as error:
            raise ValueError(f'{path} is not the record of a run ({error}). Delete it.') from error
    return found
