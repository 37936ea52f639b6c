"""A training in processes of its own, started and watched."""

import ctypes
import multiprocessing
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .training import ITERS_PER_UPDATE, Training

#: Seconds that anything may take; a busy machine is no fault of the run.
PATIENCE = 1800
#: A line of ``ShortLines`` for an iteration; dates, 11/28, begin without a space.
_ITERATION = re.compile(r'^ +(\d+)/\d+ ', re.MULTILINE)
_RESUMED = re.compile(r'Going on from \S*iter_(\d+)\.pth')
_POLL = 0.02
_PR_SET_PDEATHSIG = 1


class Log:
    """What a run has printed, as far as it is looked at here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        """All of it so far."""
        return self.path.read_text(errors='replace') if self.path.exists() else ''

    @property
    def legs(self) -> list[tuple[int, int]]:
        """From which iteration the run went on, and which was the last that it logged, once per start.

        A launcher that starts its processes again does so within one log. A start that ended before it
        trained is not there, unless it had said from where it goes on.
        """
        places = [*_RESUMED.finditer(self.text)]
        ends = [*(place.start() for place in places), len(self.text)]
        anew = _ITERATION.findall(self.text[: ends[0]])
        found = [(0, int(anew[-1]))] if anew else []
        for place, end in zip(places, ends[1:]):
            start, trained = int(place[1]), _ITERATION.findall(self.text[place.end() : end])
            found.append((start, int(trained[-1]) if trained else start))
        return found

    @property
    def updates(self) -> float:
        """Updates that the last start in it has made so far."""
        if not self.legs:
            return 0
        start, reached = self.legs[-1]
        return (reached - start) / ITERS_PER_UPDATE


class Run:
    """One start of the training, each rank a process forked from this one, which has everything imported.

    That saves the time in which Python imports all of it. From ``main`` on it is what a process does that
    the shell has started, but for what ``quick_start`` leaves out.

    Args:
        training: What is run.
        arguments: From :meth:`Training.arguments`.
        log: Where its output goes, of all ranks.
        arm: Called in each process before ``main``, with the number of its rank; None for nothing.
    """

    def __init__(
        self, training: Training, arguments: list[str], log: Path, arm: Callable[[int], None] | None = None
    ) -> None:
        self.log = Log(log)
        self.started = time.monotonic()
        self.trained_since: float | None = None
        argv = [str(training.tools / 'train.py'), str(training.config), *arguments]
        environment = {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
        context, port = multiprocessing.get_context('fork'), free_port()
        self.ranks = []
        for rank in range(training.processes):
            own = environment
            if training.processes > 1:
                own = environment | _rank_variables(rank, training.processes, port)
            process = context.Process(target=_work, args=(training, _with_launcher(argv, own), own, log, arm))
            process.start()
            self.ranks.append(process)

    def wait_for(self, updates: int) -> bool:
        """Wait until this start has made so many updates; False if it ended before."""
        while self.is_alive():
            made = self.log.updates
            if made > 0 and self.trained_since is None:
                self.trained_since = time.monotonic()
            if made >= updates:
                return True
            time.sleep(_POLL)
        return False

    def is_alive(self) -> bool:
        """Whether all ranks are running."""
        return all(process.is_alive() for process in self.ranks)

    def send(self, number: signal.Signals) -> None:
        """A signal to every rank that still runs."""
        for process in self.ranks:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)

    def end(self) -> list[int | None]:
        """Wait for the end of all ranks; where one was killed, the others are, as on a machine that is lost.

        Returns:
            Exit codes; that of a signal is its negative number.
        """
        deadline = time.monotonic() + PATIENCE
        while any(process.is_alive() for process in self.ranks):
            if any(process.exitcode == -signal.SIGKILL for process in self.ranks):
                self.send(signal.SIGKILL)
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                raise TimeoutError(f'A run did not end within {PATIENCE} s; its output: {self.log.path}')
            time.sleep(_POLL)
        for process in self.ranks:
            process.join()
        return [process.exitcode for process in self.ranks]


def _work(
    training: Training, argv: list[str], environment: dict[str, str], log: Path,
    arm: Callable[[int], None] | None,
) -> None:  # fmt: skip
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # none outlives the one that watches it
    with log.open('a') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdout = sys.stderr = open(1, 'w', buffering=1, closefd=False)  # noqa: SIM115 - as long as the process
    os.environ.update(environment)
    os.chdir(training.place)
    sys.argv = argv
    if arm is not None:
        arm(int(environment.get('RANK', '0')))
    training.main()


def _with_launcher(argv: list[str], environment: dict[str, str]) -> list[str]:
    # Before --cfg-options, which takes all that follows it.
    return [*argv[:2], '--launcher', 'pytorch', *argv[2:]] if 'RANK' in environment else argv


def _rank_variables(rank: int, world_size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    numbers = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world_size, LOCAL_WORLD_SIZE=world_size)
    return {name: str(number) for name, number in numbers.items()} | {
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(port),
    }


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return int(listener.getsockname()[1])
