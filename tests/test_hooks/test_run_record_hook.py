"""A run saves where it was made, and ends with a verdict."""

import json
import re

import pytest
from mmengine.hooks import Hook
from mmengine.visualization import LocalVisBackend

from projects.mask_caption_sft.hooks.cheat_watch_hook import CheatWatchHook
from projects.mask_caption_sft.hooks.run_record_hook import RunRecordHook
from projects.mask_caption_sft.reporting.run_record import commit, read_records
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
