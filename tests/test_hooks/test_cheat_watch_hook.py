"""Signals that look like cheating are said in plain words, once; those of a healthy run are not."""

import re

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.hooks.cheat_watch_hook import CheatWatchHook
from projects.mask_caption_sft.loop.cheat_signs import ADVICE
from projects.mask_caption_sft.loop.signals import caption_statistics
from projects.mask_caption_sft.structures import Captions
from tests.small_run import OneWeight, small_config
from tests.workplace import ROOT

#: Twenty readings of a run whose captions became better (docs/results.md, the run of 200 updates with
#: seed 0): iteration 10, 20, ..., 200.
HEALTHY = dict(
    caption_iou=[
        0.666, 0.659, 0.440, 0.285, 0.452, 0.685, 0.711, 0.609, 0.616, 0.797,
        0.633, 0.495, 0.647, 0.863, 0.632, 0.757, 0.708, 0.798, 0.754, 0.733,
    ],
    shuffled_iou=[
        0.124, 0.069, 0.140, 0.113, 0.042, 0.166, 0.054, 0.243, 0.178, 0.000,
        0.192, 0.210, 0.182, 0.063, 0.179, 0.152, 0.086, 0.063, 0.080, 0.075,
    ],
    blank_iou=[
        0.253, 0.270, 0.277, 0.319, 0.193, 0.262, 0.299, 0.264, 0.242, 0.322,
        0.261, 0.318, 0.276, 0.311, 0.260, 0.273, 0.250, 0.255, 0.245, 0.287,
    ],
    top_caption_share=[
        0.286, 0.231, 0.300, 0.167, 0.182, 0.188, 0.133, 0.182, 0.222, 0.125,
        0.353, 0.333, 0.273, 0.250, 0.500, 0.312, 0.200, 0.250, 0.308, 0.375,
    ],
    caption_len=[
        3.214, 3.385, 3.100, 3.500, 3.636, 3.438, 3.533, 3.591, 3.333, 3.125,
        3.118, 3.167, 3.182, 3.083, 3.000, 3.000, 3.050, 3.000, 3.000, 3.125,
    ],
    cut_ratio=[0.0] * 20,
)  # fmt: skip
#: After that, what a run would log that has found each way to cheat.
CHEATS = dict(
    shuffled=dict(shuffled_iou=[0.60] * 20),
    blank=dict(blank_iou=[0.60] * 20),
    top_caption=dict(top_caption_share=[0.95] * 20),
    shrunk=dict(caption_len=[1.2] * 20),
    cut=dict(cut_ratio=[0.7] * 20),
)


class Scripted(OneWeight):
    """Logs given signals, one reading per iteration."""

    def __init__(self, signals):
        super().__init__()
        self.signals, self.count = signals, 0

    def forward(self, batch, mode='loss'):
        row = {f'signal/{name}': torch.tensor(v[self.count]) for name, v in self.signals.items()}
        self.count += 1
        return super().forward(batch, mode) | row


def run(folder, signals, num=None, **kwargs):
    """Train as many iterations as there are readings; ``folder`` may hold a run to go on from."""
    settings = {name: kwargs.pop(name) for name in ('window', 'stop') if name in kwargs}
    num = num or len(signals['caption_iou'])
    hooks = [dict(type=CheatWatchHook, **settings)]
    checkpoint = dict(interval_updates=num)
    config = small_config(folder, num, hooks=hooks, num_records=80, checkpoint=checkpoint, **kwargs)
    config.model = dict(type=Scripted, signals=signals)
    TrainingRunner.from_cfg(config).train()


def signs_said(capsys):
    return re.findall(r'Sign of cheating \((\w+)\)', capsys.readouterr().out)


def after_healthy(**changes):
    """A healthy window and then another in which some signals are others."""
    return {name: values + changes.get(name, values) for name, values in HEALTHY.items()}


def test_a_healthy_run_is_not_accused_although_single_readings_would_accuse_it(tmp_path, capsys):
    run(tmp_path / 'run', after_healthy())
    assert signs_said(capsys) == []
    run(tmp_path / 'single', HEALTHY, window=1)
    assert signs_said(capsys) == ['blank']


@pytest.mark.parametrize('sign', CHEATS)
def test_each_way_to_cheat_is_said_once_with_what_to_change(tmp_path, capsys, sign):
    run(tmp_path / 'run', after_healthy(**CHEATS[sign]))
    said = capsys.readouterr().out
    assert re.findall(r'Sign of cheating \((\w+)\)', said) == [sign]
    assert 'model.' in said.split(f'({sign})')[1]


def test_the_numbers_in_the_text_are_the_means_of_the_window(tmp_path, capsys):
    run(tmp_path / 'run', dict(caption_iou=[0.9, 0.4, 0.6], blank_iou=[0.1, 0.4, 0.5]), window=2)
    assert 'nearly as well (IoU 0.450 against 0.500)' in capsys.readouterr().out


def test_a_resumed_run_knows_the_readings_before_and_does_not_repeat_itself(tmp_path, capsys):
    cheating = dict(caption_iou=[0.5] * 3, blank_iou=[0.5] * 3)
    run(tmp_path / 'run', cheating, 3, window=4)
    assert signs_said(capsys) == []
    again = dict(caption_iou=[0.5], blank_iou=[0.5])
    run(tmp_path / 'run', again, 4, window=4, resume=True)
    assert signs_said(capsys) == ['blank']
    run(tmp_path / 'run', again, 5, window=4, resume=True)
    assert signs_said(capsys) == []
    info = read_checkpoint(tmp_path / 'run' / 'iter_5.pth')['message_hub']['runtime_info']
    assert info['cheats_named'] == ['blank']


def test_a_sign_can_end_the_run_but_a_resumed_one_gets_a_window_of_its_own(tmp_path, capsys):
    cheating = dict(caption_iou=[0.5] * 9, blank_iou=[0.5] * 9)
    with pytest.raises(RuntimeError, match=r'ignores the text .* as default_hooks\.cheat_watch\.stop has'):
        run(tmp_path / 'run', cheating, 9, window=3, stop=['blank'])
    run(tmp_path / 'warned', cheating, 3, window=3)
    run(tmp_path / 'warned', cheating, 5, window=3, stop=['blank'], resume=True)
    with pytest.raises(RuntimeError, match='The run ends'):
        run(tmp_path / 'warned', cheating, 8, window=3, stop=['blank'], resume=True)
    run(tmp_path / 'other', cheating, 9, window=3, stop=['shuffled'])


def test_without_signals_nothing_is_judged(tmp_path, capsys):
    """A config that trains something else, and a batch without captions."""
    run(tmp_path / 'run', dict(other=[0.0] * 3), 3, window=1)
    assert signs_said(capsys) == []


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match='stop names everything, which is not one of shuffled, blank, top_'):
        CheatWatchHook(stop=['blank', 'everything'])
    with pytest.raises(ValueError, match='window=0 readings cannot be averaged'):
        CheatWatchHook(window=0)
    assert CheatWatchHook(stop='blank').stop == ('blank',)  # as --cfg-options gives a single one


@pytest.mark.parametrize('name', ['mask_caption_sft_4b', 'mask_caption_sft_tiny'])
def test_what_the_texts_tell_people_to_set_exists(name):
    config = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    keys = {key for _, mend in ADVICE.values() for key in re.findall(r'\w+(?:\.\w+)+', mend)}
    keys = {key for key in keys if not key[0].isdigit()}
    assert len(keys) >= 5
    apply_cfg_options(config, dict.fromkeys(keys, 1) | {'default_hooks.cheat_watch.stop': ['blank']})


def test_of_one_caption_there_is_no_most_frequent_one():
    """With one region in a batch its share would always be 1, as if all captions were alike."""

    def captions(*texts):
        count = len(texts)
        return Captions.from_rows([[1, 2]] * count, [1] * count, texts, [False] * count, [True] * count)

    assert 'top_caption_share' not in caption_statistics(captions('a cat'))
    assert caption_statistics(captions('a cat', 'a dog', 'a cat'))['top_caption_share'] == pytest.approx(
        2 / 3
    )
