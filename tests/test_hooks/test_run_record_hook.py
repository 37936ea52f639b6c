"""A run saves where it was made, and ends with a verdict."""

import errno
import json
import os
import re
import signal

import pytest
from mmengine.hooks import Hook
from mmengine.visualization import LocalVisBackend

from projects.mask_caption_sft.hooks import skip_report_hook
from projects.mask_caption_sft.hooks.cheat_watch_hook import CheatWatchHook
from projects.mask_caption_sft.hooks.run_record_hook import RunRecordHook
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.hooks.stop_signal_hook import EXIT_CODE, StopSignalHook
from projects.mask_caption_sft.reporting.run_record import RunRecord, commit, read_records
from tests.small_run import small_run


class Failing(Hook):
    """Ends the run in its first iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        raise RuntimeError('the disk is gone')


def run(folder, *more, **changes):
    hooks = [*more, dict(type=RunRecordHook), dict(type=CheatWatchHook, blank_ratio=0.7)]
    visualizer = dict(type='Visualizer', vis_backends=[dict(type=LocalVisBackend)], name=str(folder))
    return small_run(folder, 2, hooks=hooks, visualizer=visualizer, **changes)[0]


def test_a_run_records_its_command_commit_environment_and_duration(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['tools/train.py', 'config with space.py'])
    run(tmp_path / 'run')
    (record,) = read_records(tmp_path / 'run')
    assert record.command == "python tools/train.py 'config with space.py'"
    assert re.fullmatch(r'[0-9a-f]{12}(-dirty)?|unknown', record.commit)
    assert record.commit == commit()
    assert record.environment['PyTorch'].startswith('2.')
    assert record.ended >= record.started > 1.6e9
    assert record.limits['blank_ratio'] == 0.7


def test_a_run_that_fails_keeps_the_record_of_its_start(tmp_path):
    with pytest.raises(RuntimeError, match='the disk is gone'):
        run(tmp_path / 'run', dict(type=Failing))
    (record,) = read_records(tmp_path / 'run')
    assert record.ended is None


def test_the_verdict_is_printed_at_the_end(tmp_path, capsys):
    folder = tmp_path / 'run' / 'before' / 'vis_data'
    folder.mkdir(parents=True)
    rows = [{'mask_cycle/second_view_iou': iou, 'step': step} for step, iou in ((0, 0.1), (1, 0.4))]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    run(tmp_path / 'run')
    said = capsys.readouterr().out
    assert 'Verdict: it learned, and nothing looks like cheating.' in said
    assert "  mask -> caption -> mask' IoU rose: 0.100 -> 0.400." in said


def truncated():
    raise OSError('truncated')


class Stop(Hook):
    """Tells the run to stop."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_full_disk_under_the_record_and_the_list_is_said_once_and_ends_nothing(
    tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(RunRecord, 'save', full)
    monkeypatch.setattr(skip_report_hook, 'write_skip_list', full)
    skips = dict(type=SkipReportHook, max_broken_ratio=1.0)
    faults = dict.fromkeys(range(0, 40, 2), truncated)
    runner = run(tmp_path / 'run', skips, faults=faults, batch_size=8)
    assert runner.iter == 2
    said = capsys.readouterr().out
    assert said.count('The record of this run cannot be written ([Errno 28] No space left') == 1
    assert said.count('skipped_records.jsonl cannot be written ([Errno 28] No space left') == 1
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / 'told', skips, dict(type=Stop), dict(type=StopSignalHook), faults=faults, batch_size=8)
    assert ended.value.code == EXIT_CODE
