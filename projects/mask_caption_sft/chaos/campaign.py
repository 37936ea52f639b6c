"""A folder in which runs are disturbed, and the undisturbed ones that they are compared with."""

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..checkpoints.integrity import resumable
from ..engine.atomic_backend import is_leftover
from ..hooks.trained_checkpoint_hook import POINTER
from .ordeal import Ordeal
from .outcome import Outcome
from .run import Run
from .training import ITERS_PER_UPDATE, SAVE_INTERVAL, Training

#: The undisturbed run keeps all of its checkpoints: others begin in its midst.
_KEEP_ALL = ('default_hooks.checkpoint.max_keep_ckpts=-1',)


class Campaign:
    """What every fault needs.

    Args:
        training: What is disturbed.
        folder: An empty folder; work dirs and output are left there.
        seed: Chooses the moments.
        kills: How many at random moments.
    """

    def __init__(self, training: Training, folder: Path, seed: int = 0, kills: int = 50) -> None:
        self.training, self.folder, self.kills = training, folder, kills
        self.random = random.Random(seed)
        self._references: dict[str, Path] = {}
        self._num_ordeals = 0
        #: Of the undisturbed run: seconds up to its first update, and per update after that.
        self.start_seconds, self.update_seconds = 1.0, 1.0

    def with_processes(self, processes: int) -> Training:
        """The same training on so many ranks."""
        return replace(self.training, processes=processes)

    def reference(
        self, training: Training | None = None, name: str = 'undisturbed', arm: Callable | None = None
    ) -> Path:
        """The work dir of a run that is never interrupted; it is made once.

        Raises:
            RuntimeError: It failed, so there is nothing to compare with, or what it prints is not understood.
        """
        training = training or self.training
        key = f'{name}_{training.processes}'
        if key not in self._references:
            ordeal = Ordeal(training, self.folder / key)
            run = ordeal.start(settings=_KEEP_ALL, arm=arm)
            run.wait_for(1)
            first = time.monotonic()
            codes = run.end()
            if codes != [0] * training.processes:
                raise RuntimeError(f'The undisturbed run ended with {codes}: {run.log.text[-2000:]}')
            if run.log.legs != [(0, training.iterations)]:
                raise RuntimeError(f'The output of a run reads as {run.log.legs}: {run.log.text[-2000:]}')
            self.start_seconds = first - run.started
            self.update_seconds = (time.monotonic() - first) / max(1, training.updates - 1)
            self._references[key] = ordeal.work_dir
        return self._references[key]

    def ordeal(self, name: str, at: tuple[int, ...] = (), training: Training | None = None) -> Ordeal:
        """A new work dir: empty, or as the undisturbed run's was after these updates, moved to here.

        Args:
            name: Begins the name of the work dir.
            at: Updates whose checkpoints are there, oldest first.
            training: Instead of the campaign's.
        """
        training = training or self.training
        self._num_ordeals += 1
        ordeal = Ordeal(training, self.folder / f'{self._num_ordeals:02d}_{name}')
        if at:
            source = self.reference(training)
            ordeal.work_dir.mkdir()
            iterations = [update * ITERS_PER_UPDATE for update in at]
            for iteration in iterations:
                shutil.copy(source / f'iter_{iteration}.pth', ordeal.work_dir)
            (ordeal.work_dir / POINTER).write_text(f'iter_{iterations[-1]}.pth')
            ordeal.expect(iterations[-1], reached=iterations[-1])
        return ordeal

    def pause(self, updates: int, run: Run | None = None) -> None:
        """Sleep for a random part of an update, or of a start where there is no update yet.

        Args:
            updates: That the run has made since its start.
            run: If it is given, the pauses follow its pace from now on: the machine may have become busier
                or idle.
        """
        if run is not None and run.trained_since is not None:
            self.start_seconds = run.trained_since - run.started
            self.update_seconds = (time.monotonic() - run.trained_since) / max(1, updates)
        time.sleep(self.random.random() * (self.update_seconds if updates else self.start_seconds))

    def judge(
        self, fault: str, times: int, ordeals: list[Ordeal], differing: list[str] | None,
        allowed_updates: int = SAVE_INTERVAL,
    ) -> Outcome:  # fmt: skip
        """The row of a fault.

        Args:
            fault: Its name.
            times: How often it was done.
            ordeals: The runs that it was done to.
            differing: What is not as in the undisturbed run; None if there is none to compare with.
            allowed_updates: The most that may have been trained again.
        """
        problems = [problem for ordeal in ordeals for problem in ordeal.problems]
        for ordeal in ordeals:
            left = [path.name for path in ordeal.work_dir.glob('.*.tmp') if is_leftover(path)]
            problems += [f'{name} was left in {ordeal.work_dir}' for name in left]
        if differing:
            problems.append(f'{len(differing)} differ, the first: {", ".join(differing[:3])}')
        lost = -(-max(ordeal.lost_iters for ordeal in ordeals) // ITERS_PER_UPDATE)
        recovered = times - min(times, sum(bool(ordeal.problems) for ordeal in ordeals))
        equal = None if differing is None else not differing
        return Outcome(fault, times, recovered, lost, allowed_updates, equal, problems)


def newest(work_dir: Path) -> Path:
    """The newest checkpoint of a work dir."""
    return resumable(work_dir)[0]
