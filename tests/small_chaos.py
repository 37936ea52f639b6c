"""What the chaos run disturbs, with a model of one weight: seconds become milliseconds."""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import runner as mmengine_runner

from projects.mask_caption_sft.chaos.training import ITERS_PER_UPDATE, SAVE_INTERVAL, Training
from projects.mask_caption_sft.engine.short_lines import ShortLines
from projects.mask_caption_sft.engine.start_plan import StartRefusedError
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.hooks.stop_signal_hook import StopSignalHook
from tests.small_run import small_config
from tests.workplace import ROOT


class Slow(Hook):
    """Leaves time to be killed in."""

    def __init__(self, seconds):
        self.seconds = seconds

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(self.seconds)


@dataclass
class SmallMain:
    """Stands in for the ``main`` of ``tools/train.py``; ``hooks`` can give it a fault of its own.

    ``seconds`` is the least that an iteration takes.
    """

    hooks: tuple = ()
    seconds: float = 0.0

    def __call__(self) -> None:
        mmengine_runner.collect_env = dict  # a table of versions takes ten seconds to make
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        parser.add_argument('--work-dir', type=Path)
        parser.add_argument('--resume', action='store_true')
        parser.add_argument('--cfg-options', nargs='+')
        args = parser.parse_args(sys.argv[1:])
        options = dict(option.split('=', 1) for option in args.cfg_options)
        config = small_config(
            args.work_dir, int(options['train_cfg.max_iters']), accumulative_counts=ITERS_PER_UPDATE,
            checkpoint=dict(
                interval_updates=SAVE_INTERVAL,
                max_keep_ckpts=-1 if 'default_hooks.checkpoint.max_keep_ckpts=-1' in args.cfg_options else 2,
            ),
            hooks=[dict(type=Slow, seconds=self.seconds), dict(type=StopSignalHook), *self.hooks],
            resume=args.resume,
        )  # fmt: skip
        config.default_hooks.logger = dict(type=LoggerHook, interval=1, log_metric_by_epoch=False)
        config.log_processor = dict(type=ShortLines, by_epoch=False)
        try:
            TrainingRunner.from_cfg(config).train()
        except StartRefusedError as error:
            sys.exit(f'error: {error}')


def small_training(place: Path, updates: int = 16, main=None) -> Training:
    place.mkdir(exist_ok=True)
    return Training(main or SmallMain(), ROOT / 'tools', Path('none.py'), place, updates)
