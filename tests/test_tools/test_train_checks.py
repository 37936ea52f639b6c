"""What tools/train.py looks at between building a run and starting it."""

from types import SimpleNamespace

import pytest
import torch
import train as tool
from mmengine.config import Config

from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.hooks.cost_report_hook import CostReportHook
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from tests.miniature import miniature_model


@pytest.fixture
def start(tmp_path, monkeypatch):
    """``train`` on a model that is given; returns what happened to the runner, in order."""

    def run(model, max_tiles: int = 6) -> list[str]:
        happened: list[str] = []
        runner = SimpleNamespace(
            model=model,
            build_loops=lambda: None,
            register_hook=lambda hook: happened.append(type(hook).__name__),
            train=lambda: happened.append('train'),
        )
        monkeypatch.setattr(tool.TrainingRunner, 'from_cfg', lambda config: runner)
        pipeline = [dict(type=PackRegions, max_tiles=max_tiles)]
        config = Config(
            dict(
                work_dir=str(tmp_path),
                model=dict(type=MaskCaptionSFT, max_caption_len=32),
                train_dataloader=dict(dataset=dict(pipeline=pipeline)),
            )
        )
        tool.train(config)
        return [name for name in happened if name != 'ProgressBarHook']

    return run


@pytest.mark.parametrize(
    ('has_gpu', 'expected'), [(True, [CostReportHook.__name__, 'train']), (False, ['train'])]
)
def test_on_a_gpu_costs_are_said_before_the_first_step(start, monkeypatch, has_gpu, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    assert start(torch.nn.Linear(1, 1)) == expected


def test_a_prompt_longer_than_the_context_is_refused_before_the_first_step(start):
    """The miniature reads 4 tokens per tile and takes 2,048: 600 tiles are too many, and 6 are not."""
    model = miniature_model()
    assert start(model, max_tiles=6)[-1] == 'train'
    with pytest.raises(SystemExit) as stopped:
        start(model, max_tiles=600)
    message = str(stopped.value)
    assert message.startswith('error: train_dataloader.dataset.pipeline.0.max_tiles=600: a prompt of up to')
    assert "exceed the model's context of 2048. Lower max_tiles to " in message
    assert '\n' not in message
