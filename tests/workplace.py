"""The command-line tools, run as a user runs them, in a folder that holds a small tiny world."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from tests.tool_process import run_tool

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'mask_caption_sft_tiny.py'
#: Seconds that a command may take: minutes on a quiet machine, ten times that on a busy one.
PATIENCE = 3600
#: A run of seconds: few and small batches, everything logged, kept and drawn.
SHORT = [
    'train_dataloader.batch_size=2',
    'val_dataloader.batch_size=2',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval_updates=1',
    'default_hooks.checkpoint.max_keep_ckpts=2',
    'custom_hooks.2.interval=2',
    'model.signal_interval=2',
    'model.objectives.segment_captions.min_confidence=0.0',
    # Everything teaches in every iteration, people's captions too.
    'model.periods=None',
    'model.objectives.human_expressions.caption_weight=1.0',
]


class Workplace:
    """A folder with ``data/tiny_world``, in which the tools are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command there, with one thread per process."""
        environment = os.environ | {
            'OMP_NUM_THREADS': '1',
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
        }
        if command[0] == sys.executable and Path(command[1]).parent == ROOT / 'tools':
            result = run_tool(Path(command[1]), command[2:], self.folder, environment, PATIENCE)
        else:
            result = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
            )
        assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    def train(
        self, work_dir: str, max_iters: int, *args: str, options: tuple[str, ...] = (), validate: bool = True,
        check: bool = True, config: Path = CONFIG,
    ) -> subprocess.CompletedProcess:  # fmt: skip
        """``tools/train.py`` on the tiny config or another one of its family, shortened."""
        short = [option for option in SHORT if validate or not option.startswith('val_dataloader')]
        tool = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(config), '--work-dir', work_dir]
        shortened = ['--cfg-options', f'train_cfg.max_iters={max_iters}', *short, *options]
        return self.call(*tool, *args, *shortened, check=check)

    def scalars(self, work_dir: str) -> list[dict]:
        """Logged rows of the newest run in a work dir, names without ``train/`` and ``val/``."""
        newest = sorted((self.folder / work_dir).glob('*/vis_data/scalars.json'))[-1]
        rows = [json.loads(line) for line in newest.read_text().splitlines()]
        return [{re.sub('^(train|val)/', '', name): row[name] for name in row} for row in rows]


def refusal(tool: ModuleType, argv: list[str], place: Workplace, monkeypatch, capsys) -> str:
    """What a tool says that refuses its arguments, called in this process, where it must build no model."""
    monkeypatch.chdir(place.folder)
    monkeypatch.setattr(sys, 'argv', [f'{tool.__name__}.py', *argv])
    monkeypatch.setattr(tool, 'load_model', None)
    with pytest.raises(SystemExit) as refused:
        tool.main()
    return f'{refused.value}{capsys.readouterr().err}'


def load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of a run, read without executing code."""
    allow_checkpoint_globals()
    return torch.load(path, map_location='cpu', weights_only=True)
