"""What a run prints: lines that fit a terminal; its files keep everything."""

import io
import json
import logging
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from mmengine.evaluator import BaseMetric
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.visualization import LocalVisBackend

from projects.mask_caption_sft.engine.console import ConsoleFormatter, LogText, first_line
from projects.mask_caption_sft.engine.short_lines import ShortLines, duration
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.visualization.forgiving_visualizer import ForgivingVisualizer
from tests.small_run import OneWeight, small_config

WIDTH = 80
#: As long as values get.
LONG = {
    'signal/caption_iou': 0.123456, 'signal/shuffled_iou': 0.5, 'signal/gate_open_ratio': 1.0,
    'host_memory_mb': 123456.0, 'grad_norm': 1.0, 'sav/loss_iou': 0.25,
}  # fmt: skip


class Given(BaseMetric):
    """Scores that do not depend on anything."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        scores = dict.fromkeys(('second_view_iou', 'shuffled_iou', 'blank_iou'), 0.123456)
        return {f'mask_cycle_best_of_4/{name}': score for name, score in scores.items()} | {
            'ref_seg/cIoU': 0.7123,
            'truth/true': 0.25,
        }


class Talkative(OneWeight):
    """Logs what the two-stage loop logs."""

    def forward(self, batch, mode='loss'):
        if mode == 'predict':
            return [0]
        hub = MessageHub.get_current_instance()
        for name, value in LONG.items():
            hub.update_scalar(f'train/{name}', value)
        return super().forward(batch, mode)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run of three iterations, validated after the second and the third, and the lines that it printed."""
    config = small_config(tmp_path_factory.mktemp('short') / 'run', 3)
    config.model.type = Talkative
    config.default_hooks.logger = dict(type=LoggerHook, interval=1, log_metric_by_epoch=False)
    config.log_processor = dict(type=ShortLines, by_epoch=False)
    config.visualizer = dict(type=ForgivingVisualizer, vis_backends=[dict(type=LocalVisBackend)])
    loader = config.train_dataloader
    config.val_dataloader = {**loader, 'sampler': dict(type='DefaultSampler', shuffle=False)}
    config.val_dataloader['dataset'] = {**loader.dataset, 'epoch_len': 2}
    config.update(val_cfg=dict(), val_evaluator=dict(type=Given))
    config.padding = [f'setting {number}' for number in range(100)]
    config.train_cfg.val_interval = 2
    with redirect_stdout(io.StringIO()) as printed:
        runner = TrainingRunner.from_cfg(config)
        runner.train()
    return runner, printed.getvalue().splitlines()


def test_each_interval_is_a_line_of_a_table(run):
    _, lines = run
    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ['iteration', 'left'])
    assert lines[head].split()[2:] == ['loss', 'cycle', 'shuffled', 'gate', 'memory']
    assert [line.split()[0] for line in lines if re.match(r' +\d', line)] == ['1/3', '2/3', '3/3']
    assert lines[head + 1].split()[3:] == ['0.123', '0.500', '1.000', '120.6', 'GiB']


def test_after_a_validation_its_human_ciou_has_a_column(run):
    _, lines = run
    end = next(i for i, line in enumerate(lines) if line.startswith('validation'))
    head, values = lines[end + 2 : end + 4]
    assert 'human cIoU' in head
    assert values.split()[5] == '0.712'
    assert len(head) == len(values)


def test_a_validation_is_a_line_that_says_how_it_was_made(run):
    _, lines = run
    end = next(i for i, line in enumerate(lines) if line.startswith('validation'))
    assert lines[end : end + 2] == [
        'validation, best of 4 captions:',
        '  cycle 0.123, shuffled 0.123, blank 0.123, cIoU 0.712, true 0.250',
    ]


def test_every_line_fits_a_terminal(run):
    _, lines = run
    ours = [line for line in lines if re.match(r' +(\d|iteration|cycle)', line)]
    assert len(ours) == 3 + 2 + 2  # three iterations, headings before and after a validation, validations
    assert max(map(len, ours)) <= WIDTH
    assert len(lines) < 40


def test_config_and_hooks_are_in_the_log_file_and_not_on_the_terminal(run):
    runner, lines = run
    (log,) = Path(runner.log_dir).glob('*.log')
    for text in ("'setting 99'", 'DrawTrainLoop', 'UpdateGuardHook', 'grad_norm: ', 'sav/loss_iou: 0.25'):
        assert text in log.read_text()
        assert not any(text in line for line in lines)
    assert any(' Config: ' in line and line.endswith(' lines, in the log file') for line in lines)


def test_values_are_logged_below_train_and_val(run):
    runner, _ = run
    content = (Path(runner.log_dir) / 'vis_data' / 'scalars.json').read_text()
    rows = [json.loads(line) for line in content.splitlines()]
    train, val = ([row for row in rows if f'{mode}/time' in row] for mode in ('train', 'val'))
    assert (len(train), len(val)) == (3, 2)
    assert {'train/loss', 'train/lr', 'train/sav/loss_iou', 'train/grad_norm'} <= train[0].keys()
    assert 'val/ref_seg/cIoU' in val[0]
    assert not any('time' in row for row in rows)


def record(message, level=logging.INFO):
    return logging.LogRecord('name', level, 'file.py', 1, message, (), None)


def test_a_warning_is_printed_whole_and_a_long_information_by_its_first_words():
    formatter = ConsoleFormatter(logging.Formatter('%(levelname)s %(message)s'))
    long = '\n-----\nTitle:\n' + 'line\n' * 20
    assert formatter.format(record(long, logging.WARNING)) == f'WARNING {long}'
    assert formatter.format(record(long)).endswith(' Title: 23 lines, in the log file')
    assert formatter.format(record(LogText('long text', 'short'))) == 'short'
    assert first_line('one\ntwo') == 'one\ntwo'


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0, '0s'), (59.9, '59s'), (192, '3m12s'), (136920, '1d14h'), (7320, '2h02m'), (443000, '5d03h')],
)
def test_a_duration_has_two_units(seconds, text):
    assert duration(seconds) == text
