"""What a start again would meet again is not started again, whatever ``MAX_RESTARTS`` says."""

import math

import pytest
import torch
import train as train_tool
from mmengine.hooks import Hook

from projects.mask_caption_sft.hooks.cheat_watch_hook import CheatWatchHook
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from tests.small_run import small_config
from tests.workplace import CONFIG, ROOT


@pytest.mark.slow
def test_a_refused_start_is_not_tried_again_over_an_older_run(workplace, run_of_two):
    before = {path.name: path.read_bytes() for path in run_of_two.glob('*.pth')}
    script = str(ROOT / 'tools' / 'dist_train.sh')
    result = workplace.call(
        'env', 'MAX_RESTARTS=1', 'PORT=29551', 'CUDA_VISIBLE_DEVICES=', 'bash', script, str(CONFIG), '1',
        '--work-dir', str(run_of_two), check=False,
    )  # fmt: skip
    said = result.stdout + result.stderr
    assert result.returncode == 1, said[-3000:]
    assert said.count('already holds iter_2.pth. Go on from it with --resume') == 1
    assert 'Going on from' not in said
    assert 'ChildFailedError' not in said  # torchrun has seen no failure, so it has tried once
    assert {path.name: path.read_bytes() for path in run_of_two.glob('*.pth')} == before


#: ``sitecustomize`` of processes that a launcher starts: the first of them ends while Python still imports.
ENDS_FIRST = """
import os
if os.environ.get('TORCHELASTIC_RESTART_COUNT') == '0':
    os.write(2, b'a bad moment')
    os._exit(1)
"""


@pytest.mark.slow
def test_a_start_that_crashed_at_once_is_tried_again_but_not_over_an_older_run(
    workplace, run_of_two, tmp_path
):
    before = {path.name: path.read_bytes() for path in run_of_two.glob('*.pth')}
    (tmp_path / 'sitecustomize.py').write_text(ENDS_FIRST)
    script = str(ROOT / 'tools' / 'dist_train.sh')
    result = workplace.call(
        'env', f'PYTHONPATH={tmp_path}', 'MAX_RESTARTS=1', 'PORT=29552', 'CUDA_VISIBLE_DEVICES=', 'bash',
        script, str(CONFIG), '1', '--work-dir', str(run_of_two), check=False,
    )  # fmt: skip
    said = result.stdout + result.stderr
    assert said.count('a bad moment') == 1, said[-3000:]
    assert said.count('already holds iter_2.pth. Go on from it with --resume') == 1, said[-3000:]
    assert result.returncode == 1
    assert 'Going on from' not in said
    assert {path.name: path.read_bytes() for path in run_of_two.glob('*.pth')} == before


def unreadable():
    raise OSError('truncated')


class Repeats(Hook):
    """Signals of a loop whose every caption is the same."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        outputs['signal/caption_iou'] = torch.tensor(0.5)
        runner.message_hub.update_scalar('train/signal/top_caption_share', 1.0)


NOT_A_NUMBER = dict(losses=dict.fromkeys(range(40), math.nan), max_in_row=2)
ALL_BROKEN = dict(
    faults=dict.fromkeys(range(40), unreadable), hooks=[dict(type=SkipReportHook, min_records=2)]
)
ONE_CAPTION = dict(hooks=[dict(type=Repeats), dict(type=CheatWatchHook, window=2, stop='top_caption')])


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        (NOT_A_NUMBER, '2 updates in a row were refused'),
        (ALL_BROKEN, 'records of dataset numbers could not be read'),
        (ONE_CAPTION, 'Sign of cheating (top_caption)'),
    ],
)
def test_a_stop_on_purpose_tells_the_launcher_why(tmp_path, monkeypatch, settings, reason):
    report = tmp_path / 'report'
    config = small_config(tmp_path / 'run', 8, batch_size=4, **settings)
    with pytest.raises(SystemExit) as ended:
        train_tool.train(config)
    assert str(ended.value).startswith('error: ')
    assert reason in str(ended.value)
    monkeypatch.setenv('MASK_CAPTION_SFT_STOPPED', str(report))
    config.update(work_dir=str(tmp_path / 'again'), experiment_name=f'{config.experiment_name}_again')
    with pytest.raises(SystemExit) as ended:
        train_tool.train(config)
    assert ended.value.code == 0
    assert report.read_text().startswith('error: ')
    assert reason in report.read_text()
