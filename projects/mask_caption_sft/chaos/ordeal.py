"""One work dir, what happens to it, and what that costs."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

from ..checkpoints.integrity import iteration_of, resumable
from .compare import differences
from .run import Log, Run
from .training import Training


class Ordeal:
    """A run that is interrupted and resumed, as a user would, until it is complete.

    Args:
        training: What is run.
        work_dir: Its work dir; the output of each start is kept beside it.

    Attributes:
        problems: What must not have happened, in words.
        lost_iters: The most iterations that were trained a second time after one interruption.
    """

    def __init__(self, training: Training, work_dir: Path) -> None:
        self.training, self.work_dir = training, work_dir
        self.problems: list[str] = []
        self.lost_iters = 0
        self._reached = 0
        self._expected: int | None = None
        self._numbers = itertools.count(1)

    @property
    def newest(self) -> int:
        """The iteration of the newest checkpoint; 0 for none."""
        found = resumable(self.work_dir)
        return (iteration_of(found[0]) or 0) if found else 0

    def start(
        self, *flags: str, settings: tuple[str, ...] = (), arm: Callable[[int], None] | None = None
    ) -> Run:
        """Start it: anew, or with ``--resume`` if there is a checkpoint. ``flags`` replace that choice."""
        if self._expected is None:
            self._expected = self.newest
        chosen = flags or (('--resume',) if self.newest else ())
        return Run(
            self.training,
            self.training.arguments(self.work_dir, *chosen, settings=settings),
            self.next_log(),
            arm,
        )

    def next_log(self) -> Path:
        """Where the output of the next start goes."""
        return self.work_dir.with_name(f'{self.work_dir.name}.{next(self._numbers)}.log')

    def expect(self, iteration: int, reached: int) -> None:
        """The next start has to go on from this iteration; training had come to ``reached``."""
        self._expected, self._reached = iteration, reached

    def account(self, log: Log) -> None:
        """After an end: where had the run gone on, and how far did it come?

        A start that goes on from another place than the newest checkpoint that is whole has lost
        what was saved.
        """
        for start, reached in log.legs:
            if self._expected is not None and start != self._expected:
                self.problems.append(f'went on from iteration {start}, not {self._expected} ({log.path})')
            self.lost_iters = max(self.lost_iters, self._reached - start)
            self._reached = max(reached, start)
            if self.newest < start:
                self.problems.append(f'nothing is left of the checkpoint of iteration {start} or after')
            self._expected = None  # a launcher's own restart: what there was is not known here
        self._expected = self.newest

    def kill(self, run: Run) -> bool:
        """SIGKILL to all ranks; False if the run had ended by itself."""
        run.send(signal.SIGKILL)
        codes = run.end()
        self.account(run.log)
        if -signal.SIGKILL in codes:
            return True
        self.require(codes, 0, run.log)
        return False

    def require(self, codes: list[int | None], wanted: int, log: Log) -> None:
        """Note a problem if a rank has ended otherwise than it should."""
        if codes != [wanted] * len(codes):
            last = (log.text.strip().splitlines() or ['no output'])[-1]
            self.problems.append(f'ended with {codes}, not {wanted}: {last[:200]} ({log.path})')

    def complete(self, reference: Path, *flags: str) -> list[str]:
        """Let it run to its end.

        Args:
            reference: Work dir of the same training, undisturbed.
            flags: Instead of ``--resume``.

        Returns:
            Names of the tensors and values that differ from the undisturbed run's.
        """
        run = self.start(*flags)
        codes = run.end()
        self.account(run.log)
        self.require(codes, 0, run.log)
        return self.compare(reference)

    def compare(self, reference: Path) -> list[str]:
        """Names of what differs from the undisturbed run's last checkpoint."""
        final = self.training.final(self.work_dir)
        if not final.is_file():
            return [f'{final} is missing']
        return differences(self.training.final(reference), final)
