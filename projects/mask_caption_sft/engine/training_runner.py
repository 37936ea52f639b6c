"""MMEngine's Runner, with files that cannot run code and a work dir that is not shared."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model

from ..checkpoints.training_file import read_checkpoint
from ..ops.unwrapped import unwrapped
from .console import shorten_console
from .loops import DrawTrainLoop
from .patient_batches import PatientLoader
from .start_plan import Start, StartRefusedError, plan_start
from .work_dir import WorkDirTakenError, lock_work_dir, remove_leftovers


class SafeRunner(Runner):
    """A Runner that takes tensors and plain values from a checkpoint, and nothing that would be executed.

    A record that ends a worker of its validation or test is left out, and they go on. It prints little; its
    log file has everything, see :mod:`console`.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As the parent; long texts go to the log file alone."""
        return shorten_console(super().build_logger(*args, **kwargs))

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """As the parent, with patience for workers that die."""
        return _patient(super().build_val_loop(loop), 'val_dataloader')

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """As in validation."""
        return _patient(super().build_test_loop(loop), 'test_dataloader')

    def load_checkpoint(
        self, filename, map_location='cpu', strict=False, revise_keys=((r'^module\.', ''),)
    ) -> dict[str, Any]:
        """Load weights, and return the checkpoint.

        The parent leaves it to torch's default what a file may hold, and its ``resume`` executes the text
        in ``meta['config']`` as Python; here that text is left out.
        """
        checkpoint = read_checkpoint(filename, mmap=False)
        self._loaded_meta: dict[str, Any] = checkpoint.setdefault('meta', {})
        self._loaded_meta.pop('config', None)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        checkpoint = _load_checkpoint_to_model(
            unwrapped(self.model), checkpoint, strict, revise_keys=list(revise_keys)
        )
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint


def _patient(loop: BaseLoop, setting: str) -> BaseLoop:
    loop.dataloader = PatientLoader(loop.dataloader, setting)
    return loop


class TrainingRunner(SafeRunner):
    """A Runner that trains in a work dir of its own, from a checkpoint that is whole.

    In the config: ``resume`` goes on from a checkpoint, ``load_from`` says from which (a file or the folder
    of a run; None is the work dir), ``start_over`` moves the work dir's old checkpoints aside.

    Raises:
        StartRefusedError: Another run holds the work dir, or it is not clear where to start; see
            :func:`plan_start`. No model was built and nothing was changed.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """As the parent; then the first process takes the work dir and all learn where to start."""
        super().setup_env(env_cfg)
        # On CPUs, the tiny gradients of saturated masks (below 1e-38) are computed a hundred times slower.
        torch.set_flush_denormal(True)
        answer: list[Any] = [None]
        if is_main_process():
            try:
                self._lock = lock_work_dir(self.work_dir)
                answer[0] = self._plan()
            except (WorkDirTakenError, StartRefusedError) as error:
                answer[0] = str(error)
        broadcast_object_list(answer)
        if not isinstance(answer[0], Start):
            raise StartRefusedError(answer[0])
        self._start = answer[0]

    def _plan(self) -> Start:
        folder = checkpoint_dir(self.cfg, self.work_dir)
        leftovers = [name for place in {Path(self.work_dir), folder} for name in remove_leftovers(place)]
        start = plan_start(
            self.work_dir, self.cfg.get('resume', False), self.cfg.get('load_from'),
            self.cfg.get('start_over', False), self.timestamp, folder,
        )  # fmt: skip
        if leftovers:
            start.notes.insert(0, f'Removed what interrupted saves had left: {", ".join(leftovers)}.')
        if self._lock is None:
            start.notes.insert(0, f'The disk of {self.work_dir} has no locks: start no second run in it.')
        return start

    #: Whether an iteration has come to its end: what goes wrong before is a mistake in the settings.
    has_trained = False

    def build_loops(self) -> None:
        """Build what the parent builds first when it trains: the loops, with their data and metrics."""
        _ = self.train_loop, self.val_loop

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """As the parent; notes the first iteration."""
        super().call_hook(fn_name, **kwargs)
        self.has_trained = self.has_trained or fn_name == 'after_train_iter'

    def load_or_resume(self) -> None:
        """Go on from the planned checkpoint; otherwise load the weights of ``load_from``, if any."""
        for note in self._start.notes:
            self.logger.warning(note)
        if self._start.checkpoint is not None:
            self.resume(self._start.checkpoint)
        elif self._load_from is not None and not self.cfg.get('resume', False):
            self.load_checkpoint(self._load_from)

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """As the parent; then the loop finds its next draw, and hooks with an ``after_resume`` are called."""
        super().resume(filename, *args, **kwargs)
        if isinstance(self.train_loop, DrawTrainLoop):
            self.train_loop.continue_from(self._loaded_meta.get('draws'))
        self.call_hook('after_resume', meta=self._loaded_meta)


def checkpoint_dir(config: Any, work_dir: str) -> Path:
    """Where a run's checkpoints are: the work dir, or a folder of its name in the hook's ``out_dir``."""
    out_dir = ((config.get('default_hooks') or {}).get('checkpoint') or {}).get('out_dir')
    return Path(work_dir) if out_dir is None else Path(out_dir) / Path(work_dir).name
