"""The training that is disturbed: real, by ``tools/train.py``, on the tiny world, and short."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..tiny_world.world import write_world

#: Iterations per update, so that some kills fall between the two.
ITERS_PER_UPDATE = 2
#: Updates between two checkpoints.
SAVE_INTERVAL = 2
#: All objectives, with the random parts of the loop switched on; few and short captions, no validation.
SETTINGS = (
    f'optim_wrapper.accumulative_counts={ITERS_PER_UPDATE}',
    f'default_hooks.checkpoint.interval_updates={SAVE_INTERVAL}',
    'default_hooks.checkpoint.max_keep_ckpts=2',
    'default_hooks.logger.interval=1',
    'train_dataloader.batch_size=1',
    'val_cfg=None',
    'val_dataloader=None',
    'val_evaluator=None',
    'custom_hooks.2.interval=0',
    'model.signal_interval=4',
    'model.num_captions=2',
    'model.max_caption_len=8',
    'model.sa2va.lora.lora_dropout=0.1',
    'model.segmentation_losses.num_points=100',
)


@dataclass(frozen=True)
class Training:
    """How the training is called.

    Attributes:
        main: ``main`` of ``tools/train.py``.
        tools: The folder of the tools.
        config: The tiny config.
        place: Folder with ``data/tiny_world``; the training runs in it.
        updates: Its length.
        processes: Ranks.
    """

    main: Callable[[], None]
    tools: Path
    config: Path
    place: Path
    updates: int = 24
    processes: int = 1

    @property
    def iterations(self) -> int:
        """Its length in iterations, by which checkpoints are named."""
        return self.updates * ITERS_PER_UPDATE

    def final(self, work_dir: Path) -> Path:
        """The last checkpoint."""
        return work_dir / f'iter_{self.iterations}.pth'

    def arguments(self, work_dir: Path, *flags: str, settings: tuple[str, ...] = ()) -> list[str]:
        """What follows ``tools/train.py`` on the command line, but for the config."""
        options = [f'train_cfg.max_iters={self.iterations}', *SETTINGS, *settings]
        return ['--work-dir', str(work_dir), *flags, '--cfg-options', *options]


def write_place(folder: Path) -> None:
    """The tiny world that the training runs on: twelve pairs or images per training set."""
    write_world(folder / 'data' / 'tiny_world', num_train=12, num_val=1)
