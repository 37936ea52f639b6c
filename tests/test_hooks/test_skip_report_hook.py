"""Skipped records are named, counted, and limited."""

import logging
from types import SimpleNamespace

import pytest

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.skip_list import read_skip_list
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.structures import BrokenRecord
from tests.miniature import miniature_sample
from tests.two_ranks import run_two_ranks


@pytest.fixture
def runner(caplog, tmp_path):
    caplog.set_level(logging.INFO)
    return SimpleNamespace(iter=0, logger=logging.getLogger('skips'), work_dir=str(tmp_path))


def batch(num_good: int, num_broken: int):
    good = [miniature_sample(f'good{i}', [None, None]) for i in range(num_good)]
    broken = [BrokenRecord('sav', f'bad{i}.npz', 'OSError: truncated') for i in range(num_broken)]
    return collate_regions([*good, *broken])


def run(hook, runner, *batches):
    for runner.iter, data in enumerate(batches):
        hook.after_train_iter(runner, runner.iter, data)


def test_each_skipped_record_is_named_with_its_reason(runner, caplog):
    run(SkipReportHook(), runner, batch(1, 1))
    assert 'skipped sav bad0.npz: OSError: truncated' in caplog.text


def test_the_final_report_counts_by_dataset_and_kind(runner, caplog):
    hook = SkipReportHook()
    run(hook, runner, batch(2, 1), batch(0, 2))
    hook.after_train(runner)
    assert 'Skipped 3 of 5 records. sav OSError: 3. skipped_records.jsonl names them.' in caplog.text
    assert read_skip_list(f'{runner.work_dir}/skipped_records.jsonl') == {'bad0.npz', 'bad1.npz'}


def test_too_many_broken_records_stop_the_run_with_the_mend(runner):
    hook = SkipReportHook(max_broken_ratio=0.2, min_records=4)
    run(hook, runner, batch(3, 0))
    with pytest.raises(RuntimeError, match=r'2 of 5 records could not be read.*max_broken_ratio=0\.2'):
        run(hook, runner, batch(0, 2))
    listed = read_skip_list(f'{runner.work_dir}/skipped_records.jsonl')
    assert listed == {'bad0.npz', 'bad1.npz'}


def test_the_message_names_the_first_records(runner):
    hook = SkipReportHook(max_broken_ratio=0.2, min_records=1)
    with pytest.raises(RuntimeError, match=r'First of them: bad0\.npz \(OSError: truncated\); bad1\.npz'):
        run(hook, runner, batch(0, 2))


def test_the_share_is_not_judged_too_early(runner):
    run(SkipReportHook(max_broken_ratio=0.2, min_records=50), runner, batch(0, 2))


def test_a_share_below_the_limit_goes_on(runner):
    run(SkipReportHook(max_broken_ratio=0.5, min_records=1), runner, batch(3, 1))


def work(rank: int, folder: str) -> None:
    """Rank 1 meets a broken record in the first of three iterations; they are exchanged in the second."""
    logging.basicConfig(filename=f'{folder}/log{rank}', level=logging.INFO)
    runner = SimpleNamespace(iter=0, logger=logging.getLogger('skips'), work_dir=folder)
    hook = SkipReportHook(check_interval=2)
    run(hook, runner, batch(1, rank), batch(1, 0))
    assert (hook.drawn, hook.broken) == (5, 1)
    run(hook, runner, batch(1, rank))
    hook.after_train(runner)
    assert (hook.drawn, hook.broken) == (8, 2)


@pytest.mark.slow
def test_records_of_all_ranks_reach_the_log_and_the_list_of_the_first(tmp_path):
    run_two_ranks(work, tmp_path)
    assert 'skipped sav bad0.npz: OSError: truncated' in (tmp_path / 'log0').read_text()
    assert 'Skipped 2 of 8 records' in (tmp_path / 'log0').read_text()
    assert read_skip_list(tmp_path / 'skipped_records.jsonl') == {'bad0.npz'}
