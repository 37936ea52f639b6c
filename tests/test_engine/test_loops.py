"""A resumed run goes on at its next draw, on however many processes."""

import logging
import shutil
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from projects.mask_caption_sft.datasets.skip_list import SKIP_LIST, write_skip_list
from projects.mask_caption_sft.loop.periods import Periods
from tests.small_run import small_run
from tests.two_ranks import run_two_ranks


def numbers(seen):
    return [int(name) for ids in seen.ids for name in ids]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """24 draws, two at a time, of a mix whose epoch is 40."""
    return numbers(small_run(tmp_path_factory.mktemp('whole') / 'run', 12, batch_size=2)[1])


@pytest.mark.parametrize(('first', 'second'), [(2, 3), (4, 1), (1, 4)])
def test_another_batch_size_repeats_no_draw_and_leaves_none_out(tmp_path, whole, first, second):
    begun = numbers(small_run(tmp_path / 'run', 3, batch_size=first)[1])
    rest = numbers(small_run(tmp_path / 'run', 6, batch_size=second, resume=True)[1])
    assert begun + rest == whole[: 3 * first + 3 * second]


def test_a_run_of_an_epoch_stays_an_epoch_and_its_schedule_at_the_same_share(tmp_path, capsys):
    """40 draws are 10 iterations of 4. After 5 of them 20 draws are left: the second half of 20 of 2."""
    epoch = dict(max_iters=None, max_epochs=1)
    _, seen = small_run(tmp_path / 'run', batch_size=4, **epoch)
    assert len(seen.ids) == 10
    runner, rest = small_run(
        tmp_path / 'rest', batch_size=2, resume=True, load_from=str(tmp_path / 'run/iter_5.pth'), **epoch
    )
    assert sorted(numbers(seen)[:20] + numbers(rest)) == list(range(40))
    assert runner.iter == 15
    assert 'is of 2 draws now and was of 4: the run goes on at draw 20 and ends at iteration 15' in (
        capsys.readouterr().out
    )
    _, fine = small_run(tmp_path / 'fine', batch_size=2, **epoch)
    assert rest.rates == fine.rates[10:]


class WhatTeaches(Hook):
    seen: list = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(Periods({'late': (0.5, 1.0)}, ['late']).is_now('late'))


def test_what_teaches_in_the_second_half_does_so_at_once_after_a_resume_in_the_middle(tmp_path):
    """Iteration 5 of 15 is the middle where the first 5 were of twice as many draws."""
    epoch = dict(max_iters=None, max_epochs=1, hooks=[dict(type=WhatTeaches)])
    WhatTeaches.seen.clear()
    small_run(tmp_path / 'run', batch_size=4, **epoch)
    assert WhatTeaches.seen == [False] * 5 + [True] * 5
    WhatTeaches.seen.clear()
    begun = str(tmp_path / 'run/iter_5.pth')
    small_run(tmp_path / 'rest', batch_size=2, resume=True, load_from=begun, **epoch)
    assert WhatTeaches.seen == [True] * 10


class ForgetDraws(Hook):
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['meta'].pop('draws')


def test_an_older_checkpoint_without_the_count_goes_on_as_it_did(tmp_path, whole):
    begun = numbers(small_run(tmp_path / 'run', 3, batch_size=2, hooks=[dict(type=ForgetDraws)])[1])
    assert begun + numbers(small_run(tmp_path / 'run', 5, batch_size=2, resume=True)[1]) == whole[:10]


def test_changed_data_is_said_loudly(tmp_path, capsys):
    small_run(tmp_path / 'run', 2)
    small_run(tmp_path / 'run', 3, resume=True)
    assert 'THE DATA HAS CHANGED' not in capsys.readouterr().out
    small_run(tmp_path / 'run', 4, resume=True, num_records=39)
    said = capsys.readouterr().out
    assert 'THE DATA HAS CHANGED: numbers: the number of records was 40 and is 39.' in said
    assert 'THE DATA HAS CHANGED: numbers: its records have other names, or another order.' in said


def test_a_record_on_the_skip_list_since_changes_the_data_too(tmp_path, capsys):
    small_run(tmp_path / 'run', 2)
    write_skip_list(tmp_path / 'numbers' / SKIP_LIST, [('7', 'OSError: truncated')])
    small_run(tmp_path / 'run', 3, resume=True)
    assert 'THE DATA HAS CHANGED: numbers: the number of records was 40 and is 39.' in capsys.readouterr().out


def two_begin_one_goes_on(rank: int, folder: str) -> None:
    _, seen = small_run(Path(folder) / 'run', 3, batch_size=2, launcher='pytorch')
    (Path(folder) / f'ids{rank}').write_text(' '.join(map(str, numbers(seen))))
    logging.shutdown()


@pytest.mark.slow
def test_one_process_goes_on_where_two_stopped(tmp_path, whole):
    run_two_ranks(two_begin_one_goes_on, tmp_path)
    begun = [int(n) for rank in (0, 1) for n in (tmp_path / f'ids{rank}').read_text().split()]
    assert sorted(begun) == sorted(whole[:12])
    assert numbers(small_run(tmp_path / 'run', 9, batch_size=2, resume=True)[1]) == whole[12:24]


def two_go_on(rank: int, folder: str) -> None:
    _, seen = small_run(Path(folder) / 'moved', 6, batch_size=2, resume=True, launcher='pytorch')
    (Path(folder) / f'ids{rank}').write_text(' '.join(map(str, numbers(seen))))
    logging.shutdown()


@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped(tmp_path, whole):
    begun = numbers(small_run(tmp_path / 'run', 3, batch_size=2)[1])
    shutil.copytree(tmp_path / 'run', tmp_path / 'moved')  # this process still holds the work dir
    run_two_ranks(two_go_on, tmp_path)
    rest = [[int(n) for n in (tmp_path / f'ids{rank}').read_text().split()] for rank in (0, 1)]
    # The ranks take turns: three iterations of two draws on each are the twelve that follow.
    assert begun + [n for turn in zip(*rest) for n in turn] == whole[:18]
