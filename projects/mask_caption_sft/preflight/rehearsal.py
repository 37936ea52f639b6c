"""A run as it will be, but short: one update, one validation batch of each dataset, one checkpoint."""

import shutil
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import ValLoop
from torch.utils.data import DataLoader, Dataset, Subset

from ..checkpoints.integrity import check_whole
from ..checkpoints.training_file import read_checkpoint
from ..datasets.mix import RegionConcat
from ..engine.start_plan import Start, find_start
from ..engine.training_runner import TrainingRunner, checkpoint_dir
from ..engine.work_dir import check_free
from ..hooks.trained_checkpoint_hook import TrainedCheckpointHook
from ..hooks.val_before_train_hook import ValBeforeTrainHook
from ..ops.unwrapped import unwrapped

#: Where it writes, below the work dir.
FOLDER = '.preflight'


@dataclass
class Rehearsed:
    """What a rehearsal has measured.

    Attributes:
        seconds: Of the iterations of its update, the first of a run, which is slower than the others.
        checkpoint_bytes: Of the checkpoint on disk.
    """

    seconds: float = 0.0
    checkpoint_bytes: int = 0


class RehearsalRunner(TrainingRunner):
    """A run in a folder of its own below the work dir, which starts where the real one would start."""

    def _plan(self) -> Start:
        """From the real work dir, in which nothing is changed."""
        real = Path(self.work_dir).parent
        for stale in Path(self.work_dir).iterdir():  # of a rehearsal that was killed
            if stale.is_dir():
                shutil.rmtree(stale)
            elif stale.suffix == '.pth':
                stale.unlink()
        check_free(real)
        cfg = self.cfg
        folder = checkpoint_dir(cfg, str(real))
        return find_start(
            real, cfg.get('resume', False), cfg.get('load_from'), cfg.get('start_over', False), folder
        )

    def build_val_loop(self, loop: Any) -> ValLoop:
        """As the parent, over the first batch of each dataset."""
        built = super().build_val_loop(loop)
        built.dataloader = first_batches(built.dataloader)
        return built

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """As the parent; the config is not written."""
        built = super().build_visualizer(visualizer)
        built.add_config = lambda *args, **kwargs: None
        return built

    def _log_env(self, env_cfg: dict) -> None:
        """The log of a rehearsal is not kept."""

    def dump_config(self) -> None:
        """Nor is its config."""


def first_batches(dataloader: DataLoader) -> DataLoader:
    """The same loader over as many records of each dataset as make a batch on every rank, without workers."""
    dataset, count = dataloader.dataset, (dataloader.batch_size or 1) * get_world_size()
    chosen = Subset(dataset, first_rows(dataset, count))
    sampler = DefaultSampler(chosen, shuffle=False, round_up=False)
    return DataLoader(chosen, dataloader.batch_size, sampler=sampler, collate_fn=dataloader.collate_fn)


def first_rows(dataset: Dataset, count: int) -> list[int]:
    """The first rows of each dataset of a :class:`RegionConcat`, or of a dataset."""
    length = len(dataset)  # type: ignore[arg-type]
    if not isinstance(dataset, RegionConcat):
        return list(range(min(count, length)))
    rows: dict[str, list[int]] = {}
    for row, (name, _) in enumerate(dataset.items):
        of_dataset = rows.setdefault(name, [])
        if len(of_dataset) < count:
            of_dataset.append(row)
    return [row for of_dataset in rows.values() for row in of_dataset]


class RehearsalHook(Hook):
    """After the first update: a checkpoint is written and read back, and the loop validates and ends."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.found = Rehearsed()
        self.has_updated = False

    def before_train_epoch(self, runner: TrainingRunner) -> None:
        """Take the time."""
        self._start = time.perf_counter()

    def after_train_iter(self, runner: TrainingRunner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Nothing, until the optimizer has made its update."""
        if not runner.optim_wrapper.should_update():
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.found.seconds = time.perf_counter() - self._start
        refusal = getattr(runner.optim_wrapper, 'refusal', None)
        if refusal is not None:
            raise ValueError(
                f'the first update was refused: {refusal.reason}. Look at the samples of '
                'tools/browse_dataset.py, or lower optim_wrapper.optimizer.lr.'
            )
        for hook in runner.hooks:
            if isinstance(hook, TrainedCheckpointHook):
                written = hook.last_ckpt if hook.last_iter == runner.iter + 1 else hook.save_now(runner)
                if is_main_process():  # the others may not see its disk
                    self.found.checkpoint_bytes = Path(str(written)).stat().st_size
                    read_back(runner, str(written))
        self.has_updated = True
        loop: Any = runner.train_loop
        # The loop goes on with a validation, after which it ends.
        loop.val_begin, loop.val_interval, loop.dynamic_intervals = 0, 1, [1]
        loop.dynamic_milestones, loop.stop_training = [0], True

    def after_train(self, runner: TrainingRunner) -> None:
        """Raise ``ValueError`` for a run that has nothing left to train."""
        if not self.has_updated:
            raise ValueError(
                f'there is no update left: the checkpoint is of iteration {runner.iter} and the run ends at '
                f'{runner.max_iters}. Raise train_cfg.max_iters.'
            )


def read_back(runner: TrainingRunner, path: str) -> None:
    """Raise ``ValueError`` unless a checkpoint holds what the model and the optimizer hold."""
    check_whole(path)
    checkpoint = read_checkpoint(path, mmap=False)
    model = unwrapped(runner.model)
    for name, tensor in model.state_dict().items():
        saved = checkpoint['state_dict'].get(name)
        if saved is None or not torch.equal(saved, tensor.cpu()):
            raise ValueError(f'{path} does not give {name} back as it was written. Is the disk sound?')
    runner.optim_wrapper.load_state_dict(checkpoint['optimizer'])


def rehearsal_config(config: Config) -> Config:
    """The config of a rehearsal; what teaches in a part of the run only teaches in its one update too."""
    short = deepcopy(config)
    if short.model.get('periods'):
        short.model.periods = None
    short.work_dir, short.log_level = str(Path(config.work_dir) / FOLDER), 'WARNING'
    hooks = [hook for hook in config.get('custom_hooks') or [] if hook.get('type') is not ValBeforeTrainHook]
    short.custom_hooks = hooks
    return short
