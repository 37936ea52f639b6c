"""A training on several ranks, started as a user starts it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from .run import PATIENCE, Log, free_port
from .training import Training


class LaunchedRun:
    """``tools/dist_train.sh`` in a process of its own, with its ranks below it.

    Args:
        training: What is run, on how many ranks.
        arguments: From :meth:`Training.arguments`.
        log: Where its output goes.
        max_restarts: How often the launcher may start all again.
    """

    def __init__(self, training: Training, arguments: list[str], log: Path, max_restarts: int = 0) -> None:
        self.log = Log(log)
        script = str(training.tools / 'dist_train.sh')
        environment = os.environ | {
            'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', 'PORT': str(free_port()),
            'MAX_RESTARTS': str(max_restarts),
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
        }  # fmt: skip
        command = ['bash', script, str(training.config), str(training.processes), *arguments]
        with log.open('w') as output:
            self.process = subprocess.Popen(
                command, cwd=training.place, env=environment, stdout=output, stderr=output
            )

    def ranks(self) -> dict[int, int]:
        """Process ids by rank."""
        (launcher,) = children(self.process.pid)
        found: dict[int, int] = {}
        for process in children(launcher):
            variables = Path(f'/proc/{process}/environ').read_bytes().split(b'\0')
            found |= {int(v[5:]): process for v in variables if v.startswith(b'RANK=')}
        return found

    def wait_for(self, updates: int) -> None:
        """Wait until it has made so many updates.

        Raises:
            RuntimeError: It ended before.
        """
        while self.log.updates < updates:
            if self.process.poll() is not None:
                raise RuntimeError(f'The run ended before update {updates}: {self.log.text[-2000:]}')
            time.sleep(0.05)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout=PATIENCE)


def children(process: int) -> list[int]:
    """Processes that one has started and that still run."""
    found = Path(f'/proc/{process}/task').glob('*/children')
    return [int(child) for path in found for child in path.read_text().split()]
