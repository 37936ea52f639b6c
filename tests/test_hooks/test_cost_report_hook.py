"""Costs are said before the first step, and never stop a run."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from projects.mask_caption_sft.hooks import cost_report_hook
from projects.mask_caption_sft.hooks.cost_report_hook import CostReportHook
from tests.test_estimating.test_estimate import Scripted

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(cost_report_hook, 'print_log', lambda text, *args: lines.append(text))
    return lines


def runner_of(**settings) -> SimpleNamespace:
    return SimpleNamespace(cfg=Config(), world_size=1, max_iters=7200, model=nn.Linear(1, 1), **settings)


def use_script(monkeypatch, memory_gib: float | None) -> None:
    Scripted.dtype = None
    monkeypatch.setattr(cost_report_hook, 'Estimate', lambda config, num_gpus: Scripted())
    monkeypatch.setattr(cost_report_hook, 'matmul_rate', lambda device, dtype: 800e12)
    monkeypatch.setattr(cost_report_hook, 'memory_of', lambda device: memory_gib)


def test_memory_iterations_and_hours_are_said(monkeypatch, said):
    use_script(monkeypatch, None)
    CostReportHook().before_train(runner_of())
    assert [line.split(':')[0] for line in said] == ['memory', 'iterations', 'hours']
    assert 'hours: 2.00' in said[2]


def test_too_many_captions_for_the_card_are_named_with_the_number_that_fits(monkeypatch, said):
    use_script(monkeypatch, 24)
    CostReportHook().before_train(runner_of())
    assert 'model.num_captions from 4 to 2' in said[3]


def test_an_estimate_that_fails_is_said_and_the_run_goes_on(said):
    CostReportHook().before_train(runner_of())
    assert said[0].startswith('No estimate of costs (')


@pytest.mark.parametrize('kind', [torch.OutOfMemoryError, torch.cuda.OutOfMemoryError])
def test_out_of_memory_ends_with_the_setting_to_lower(monkeypatch, kind, tmp_path):
    import train as tool

    use_script(monkeypatch, 24)

    def run() -> None:
        raise kind('CUDA out of memory.')

    runner = runner_of(train=run, register_hook=lambda hook: None, build_loops=lambda: None)
    monkeypatch.setattr(tool.TrainingRunner, 'from_cfg', lambda config: runner)
    with pytest.raises(SystemExit, match='error: out of memory: CUDA out') as stopped:
        tool.train(Config(dict(work_dir=str(tmp_path))))
    assert 'Lower train_dataloader.batch_size from 2 to 1' in str(stopped.value)
