"""What the chaos run disturbs, with a model of few weights: seconds become milliseconds."""

import argparse
import shutil
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import runner as mmengine_runner

from projects.mask_caption_sft.chaos.training import ITERS_PER_UPDATE, SAVE_INTERVAL, Training
from projects.mask_caption_sft.engine.base_sizes import follow_base
from projects.mask_caption_sft.engine.launch import prepare_distributed
from projects.mask_caption_sft.engine.short_lines import ShortLines
from projects.mask_caption_sft.engine.start_plan import StartRefusedError
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.hooks.stop_signal_hook import StopSignalHook
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.small_run import OneWeight, small_config
from tests.workplace import CONFIG, ROOT

#: Weights that do nothing: a checkpoint has to be larger than the logs of its run, so that a quota on files
#: can lie between the two.
_BALLAST = 20_000


class Slow(Hook):
    """Leaves time to be killed in."""

    def __init__(self, seconds):
        self.seconds = seconds

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(self.seconds)


class Sensitive(OneWeight):
    """Records of any name pull at its weight; one pixel or weight that is NaN makes its loss NaN."""

    def __init__(self):
        super().__init__()
        for part, is_trained in ((self.student, True), (self.teacher, False)):
            part.ballast = torch.nn.Parameter(torch.zeros(_BALLAST), requires_grad=is_trained)

    def forward(self, batch, mode='loss'):
        names = [Path(name).name for name in batch.sample_ids]
        wanted = torch.tensor([zlib.crc32(name.encode()) % 100 / 100 for name in names])
        found = self.student(torch.ones(len(names), 1))[:, 0]
        nothing = 0 * (batch.pixel_values.float().sum() + self.student.ballast.sum())
        return {'loss': (found - wanted).square().sum() / max(1, len(names)) + nothing}


@dataclass
class SmallMain:
    """Stands in for the ``main`` of ``tools/train.py``; ``hooks`` can give it a fault of its own.

    ``seconds`` is the least that an iteration takes. With ``world`` it trains on the tiny world in
    ``data/tiny_world``; otherwise on numbers. A base that the command line names is read, and not used.
    """

    hooks: tuple = ()
    seconds: float = 0.0
    world: bool = False

    def __call__(self) -> None:
        mmengine_runner.collect_env = dict  # a table of versions takes ten seconds to make
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        parser.add_argument('--launcher', default='none')
        parser.add_argument('--work-dir', type=Path)
        parser.add_argument('--resume', action='store_true')
        parser.add_argument('--cfg-options', nargs='+')
        args = parser.parse_args(sys.argv[1:])
        options = dict(option.split('=', 1) for option in args.cfg_options)
        if 'model.sa2va.base' in options:
            Sa2VA(options['model.sa2va.base'])
        config = self.config(args, options)
        prepare_distributed(config)
        try:
            TrainingRunner.from_cfg(config).train()
        except StartRefusedError as error:
            sys.exit(f'error: {error}')

    def config(self, args: argparse.Namespace, options: dict[str, str]) -> Config:
        max_broken_ratio = float(options.get('custom_hooks.1.max_broken_ratio', 0.05))
        config = small_config(
            args.work_dir, int(options['train_cfg.max_iters']), accumulative_counts=ITERS_PER_UPDATE,
            checkpoint=dict(
                interval_updates=SAVE_INTERVAL,
                max_keep_ckpts=int(options['default_hooks.checkpoint.max_keep_ckpts']),
            ),
            hooks=[
                dict(type=Slow, seconds=self.seconds), dict(type=StopSignalHook),
                dict(type=SkipReportHook, max_broken_ratio=max_broken_ratio), *self.hooks,
            ],
            resume=args.resume, launcher=args.launcher,
            env_cfg=dict(dist_cfg=dict(timeout=float(options.get('env_cfg.dist_cfg.timeout', 1800)))),
        )  # fmt: skip
        config.model = ConfigDict(type=Sensitive)
        config.default_hooks.logger = dict(type=LoggerHook, interval=1, log_metric_by_epoch=False)
        config.log_processor = dict(type=ShortLines, by_epoch=False)
        if self.world:
            follow_base(tiny := Config.fromfile(CONFIG))
            config.train_dataloader = tiny.train_dataloader
            config.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
        return config


def small_training(place: Path, updates: int = 16, main=None) -> Training:
    place.mkdir(exist_ok=True)
    return Training(main or SmallMain(), ROOT / 'tools', Path('none.py'), place, updates)


#: In the place of tools/train.py, for ranks that tools/dist_train.sh starts.
_TRAIN = """
import os, sys, time
sys.path.insert(0, {root!r})
from tests.small_chaos import SmallMain

if os.environ.get('TORCHELASTIC_RESTART_COUNT') == '1' and os.environ['RANK'] == '0':
    time.sleep(3)  # rank 1 must wait for the new address of rank 0, not find the one of before
SmallMain(seconds={seconds})()
os._exit(0)  # without gloo's own clean-up, which has been seen to wait for ever
"""


def launched_training(place: Path, updates: int, seconds: float) -> Training:
    """One that ``tools/dist_train.sh`` can start; an iteration then takes ``seconds`` at least."""
    tools = place / 'tools'
    tools.mkdir(parents=True)
    for name in ('dist_train.sh', '_root.py'):
        shutil.copy(ROOT / 'tools' / name, tools)
    (tools / 'train.py').write_text(_TRAIN.format(root=str(ROOT), seconds=seconds))
    (config := place / 'config.py').touch()  # the launcher looks whether it is there
    return Training(SmallMain(), tools, config, place, updates)
