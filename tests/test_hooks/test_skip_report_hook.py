"""Skipped records are named, counted, and limited."""

import logging
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.skip_list import read_skip_list
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook, lower_bound
from projects.mask_caption_sft.hooks.stop_signal_hook import StopSignalHook
from projects.mask_caption_sft.structures import BrokenRecord, UnusableRecordError
from tests.miniature import miniature_sample
from tests.small_run import Numbers, small_run
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


def test_a_dataset_that_is_beyond_doubt_above_the_limit_stops_the_run_with_the_mend(runner):
    """5 of 20: (0.25 + 0.4 - 4 sqrt(0.25 * 0.75 / 20 + 0.01)) / 1.8 = 0.0518; 4 of 20 may be chance."""
    hook = SkipReportHook(max_broken_ratio=0.05)
    run(hook, runner, batch(15, 4), batch(1, 0))
    message = (
        r'5 of 20 records of dataset sav could not be read, beyond doubt more than max_broken_ratio=0\.05'
    )
    with pytest.raises(RuntimeError, match=message):
        run(SkipReportHook(max_broken_ratio=0.05), runner, batch(15, 5))
    listed = read_skip_list(f'{runner.work_dir}/skipped_records.jsonl')
    assert listed == {f'bad{i}.npz' for i in range(5)}


def test_the_message_names_the_first_records(runner):
    hook = SkipReportHook(max_broken_ratio=0.2, min_records=1)
    with pytest.raises(RuntimeError, match=r'First of them: bad0\.npz \(OSError: truncated\); bad1\.npz'):
        run(hook, runner, batch(0, 20))


def test_the_share_is_not_judged_too_early(runner):
    run(SkipReportHook(max_broken_ratio=0.05, min_records=20), runner, batch(0, 19))


def test_the_bound_is_wilsons():
    assert lower_bound(5, 20) == pytest.approx(0.05179, abs=1e-5)
    assert lower_bound(0, 20) == pytest.approx(0)
    assert lower_bound(20, 20) == pytest.approx(20 / 36)  # 1 / (1 + z^2 / n)
    assert lower_bound(50_000, 10**6) == pytest.approx(0.05, abs=0.001)


def stopped(share: float, draws: int, seed: int) -> int | None:
    """After how many draws of a dataset of which ``share`` is broken a run is stopped."""
    is_broken = np.random.default_rng(seed).random(draws) < share
    for drawn, broken in enumerate(is_broken.cumsum().tolist(), start=1):
        if drawn >= 20 and lower_bound(broken, drawn) > 0.05:
            return drawn
    return None


def test_healthy_runs_are_not_stopped_by_small_numbers_and_sick_ones_are():
    """At 3 % broken, the plain share of 5 % from 50 records on stopped 36 % of runs."""
    assert [stopped(0.03, 2000, seed) for seed in range(100)] == [None] * 100
    assert all(stopped(0.10, 2000, seed) for seed in range(20))
    assert stopped(1.0, 30, 0) == 20


def test_a_small_dataset_that_is_all_broken_is_not_hidden_by_a_large_one(runner):
    """1 % of the draws: 20 of 2000."""
    hook = SkipReportHook()
    good = [miniature_sample(f'good{i}', [None], 'sa1b') for i in range(1980)]
    broken = [BrokenRecord('sav', f'bad{i}', 'OSError: truncated') for i in range(20)]
    hook._new_drawn.update(sample.dataset for sample in good)
    with pytest.raises(RuntimeError, match='20 of 20 records of dataset sav'):
        run(hook, runner, collate_regions(broken))


def unusable(name: str) -> BrokenRecord:
    return BrokenRecord('sav', name, 'unusable: mask1 is empty', is_unusable=True)


def test_unusable_records_are_counted_and_listed_and_do_not_stop_the_run(runner, caplog):
    hook = SkipReportHook()
    samples = [miniature_sample(f'good{i}', [None]) for i in range(40)]
    samples[0].instead_of = [unusable(f'empty{i}') for i in range(20)]
    run(hook, runner, collate_regions(samples))
    hook.after_train(runner)
    said = 'Skipped 0 of 60 records. Replaced 20 that were unusable. sav unusable: 20.'
    assert said in caplog.text
    assert len(read_skip_list(f'{runner.work_dir}/skipped_records.jsonl')) == 20


def fail():
    raise OSError('truncated')


def nothing_visible():
    raise UnusableRecordError('mask1 is empty')


def test_the_counts_survive_a_resume_and_the_list_can_be_given_back(tmp_path):
    faults = {3: fail, 4: nothing_visible, 11: fail}
    settings = dict(faults=faults, batch_size=4, hooks=[dict(type=SkipReportHook, min_records=1000)])
    whole, _ = small_run(tmp_path / 'whole', 8, **settings)
    small_run(tmp_path / 'run', 5, **settings)
    again, _ = small_run(tmp_path / 'run', 8, resume=True, **settings)
    hooks = [next(h for h in r.hooks if isinstance(h, SkipReportHook)) for r in (whole, again)]
    for name in ('drawn', 'broken', 'unusable', 'reasons', 'named'):
        assert getattr(hooks[0], name) == getattr(hooks[1], name)
    assert hooks[0].broken.total() > 0 < hooks[0].unusable.total()
    written = tmp_path / 'run' / 'skipped_records.jsonl'
    dataset = Numbers(str(tmp_path / 'numbers'), faults=faults, skip_list=str(written))
    assert len(dataset) == 40 - len(faults)
    assert not any(isinstance(dataset[i], BrokenRecord) for i in range(len(dataset)))


def work(rank: int, folder: str) -> None:
    """Rank 1 meets a broken record in the first of three iterations; they are exchanged in the second."""
    logging.basicConfig(filename=f'{folder}/log{rank}', level=logging.INFO)
    runner = SimpleNamespace(iter=0, logger=logging.getLogger('skips'), work_dir=folder)
    hook = SkipReportHook(check_interval=2)
    run(hook, runner, batch(1, rank), batch(1, 0))
    assert (hook.drawn.total(), hook.broken.total()) == (5, 1)
    run(hook, runner, batch(1, rank))
    hook.after_train(runner)
    assert (hook.drawn.total(), hook.broken.total()) == (8, 2)


@pytest.mark.slow
def test_records_of_all_ranks_reach_the_log_and_the_list_of_the_first(tmp_path):
    run_two_ranks(work, tmp_path)
    assert 'skipped sav bad0.npz: OSError: truncated' in (tmp_path / 'log0').read_text()
    assert 'Skipped 2 of 8 records' in (tmp_path / 'log0').read_text()
    assert read_skip_list(tmp_path / 'skipped_records.jsonl') == {'bad0.npz'}


def test_a_record_that_killed_a_worker_is_not_read_after_a_resume(tmp_path):
    hooks = [dict(type=SkipReportHook)]
    small_run(tmp_path / 'run', 2, hooks=hooks)
    drawn = small_run(tmp_path / 'look', 4)[1].ids[3][0]
    name = f'{tmp_path}/numbers/{drawn}'
    path = tmp_path / 'run' / 'iter_2.pth'
    content = read_checkpoint(path, mmap=False)
    content['meta']['skipped']['named'].append(['numbers', name, 'WorkerDied: SIGSEGV'])
    torch.save(content, path)
    _, seen = small_run(tmp_path / 'run', 4, hooks=hooks, resume=True)
    assert seen.ids[-1] == []


def test_a_dataset_of_which_every_record_was_broken_fails_at_the_end_however_few_were_drawn(tmp_path):
    """4 draws of 40; 20 are needed before the end. One good record among them, and the run ends well."""
    hooks = [dict(type=SkipReportHook)]
    with pytest.raises(RuntimeError, match=r'4 of 4 records of dataset numbers could not be read'):
        small_run(tmp_path / 'run', 2, batch_size=2, hooks=hooks, faults=dict.fromkeys(range(40), fail))
    assert (tmp_path / 'run' / 'skipped_records.jsonl').is_file()
    drawn = [int(name) for ids in small_run(tmp_path / 'look', 2, batch_size=2)[1].ids for name in ids]
    faults = dict.fromkeys(drawn[1:], fail)
    assert small_run(tmp_path / 'one', 2, batch_size=2, hooks=hooks, faults=faults)[0].iter == 2


class Stop(Hook):
    """Tells the run to stop."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_list_is_written_after_a_signal_too(tmp_path):
    hooks = [dict(type=SkipReportHook), dict(type=Stop), dict(type=StopSignalHook)]
    faults = dict.fromkeys(range(0, 40, 2), fail)
    with pytest.raises(SystemExit):
        small_run(tmp_path / 'run', 4, batch_size=8, hooks=hooks, faults=faults)
    assert read_skip_list(tmp_path / 'run' / 'skipped_records.jsonl')
