"""What goes wrong in a rehearsal is said in one line, and the work dir is as before."""

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.engine.base_sizes import follow_base
from projects.mask_caption_sft.preflight import preflight as module
from projects.mask_caption_sft.preflight.preflight import preflight
from projects.mask_caption_sft.preflight.rehearsal import FOLDER, RehearsalRunner
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """The tiny run on the shipped base, without data; costs are not counted."""
    for name in ('measured_lines', 'disk_lines', 'estimated_lines'):
        monkeypatch.setattr(module, name, lambda *args: [])
    found = Config.fromfile('configs/mask_caption_sft_tiny.py')
    found.model.sa2va.base = str(TRAINED_BASE)
    found.train_dataloader.dataset.datasets = {}
    found.update(val_dataloader=None, val_cfg=None, val_evaluator=None, work_dir=str(tmp_path / 'a' / 'run'))
    follow_base(found)
    return found


def fail_with(monkeypatch, error: Exception) -> None:
    def train(self):
        raise error

    monkeypatch.setattr(RehearsalRunner, 'train', train)


def test_whatever_fails_is_one_line_that_says_when_and_where(config, monkeypatch, capsys, tmp_path):
    fail_with(monkeypatch, RuntimeError('sizes do not match:\n  3 and 4'))
    assert preflight(config) == 1
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .startswith(
            '  1. The first update or validation failed: RuntimeError: sizes do not match: 3 and 4 (tests/'
        )
    )
    assert list(tmp_path.iterdir()) == []  # neither the work dir nor the folder that was made for it


def test_out_of_memory_is_said_with_the_setting_to_lower(config, monkeypatch, capsys):
    fail_with(monkeypatch, torch.OutOfMemoryError('CUDA out of memory.'))
    monkeypatch.setattr(module, 'out_of_memory_advice', lambda runner, error: f'{error} Lower it.')
    assert preflight(config) == 1
    assert capsys.readouterr().out.splitlines()[-1] == '  1. CUDA out of memory. Lower it.'


def test_a_run_that_is_there_keeps_every_file(config, monkeypatch, tmp_path):
    work_dir = tmp_path / 'a' / 'run'
    work_dir.mkdir(parents=True)
    (work_dir / 'notes.txt').write_text('mine')
    seen = []
    monkeypatch.setattr(RehearsalRunner, 'train', lambda self: seen.append((work_dir / FOLDER).is_dir()))
    assert preflight(config) == 0
    assert seen == [True]
    assert [path.name for path in work_dir.iterdir()] == ['notes.txt']


def test_of_several_processes_the_first_speaks(config, monkeypatch, capsys):
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setattr(module, '_preflight', lambda config: print('spoken') or 0)
    config.launcher = 'pytorch'
    assert preflight(config) == 0
    assert capsys.readouterr().out == ''
    config.launcher = 'none'  # an environment that a launcher has left
    preflight(config)
    assert capsys.readouterr().out == 'spoken\n'
