"""A record that kills its reader is named and left out, and the run goes on with the next."""

import os
import signal

import pytest

from tests.small_run import small_run


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def out_of_memory():
    os.kill(os.getpid(), signal.SIGKILL)


def told_to_stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """The records of the first eight draws."""
    _, seen = small_run(tmp_path_factory.mktemp('look') / 'run', 8)
    return [int(name) for ids in seen.ids for name in ids]


def seen_numbers(seen):
    return [int(ids[0]) if ids else None for ids in seen.ids]


@pytest.mark.slow  # a death is noticed after up to five seconds
@pytest.mark.parametrize(
    ('fault', 'deaths', 'num_workers', 'persistent'),
    [
        (crash, 1, 1, False),
        (crash, 1, 2, False),
        (crash, 1, 2, True),
        (out_of_memory, 2, 1, False),
        (out_of_memory, 2, 2, False),
    ],
)
def test_the_run_goes_on_without_the_record(tmp_path, drawn, capsys, fault, deaths, num_workers, persistent):
    bad = drawn[4]
    _, seen = small_run(
        tmp_path / 'run', 8, num_workers=num_workers, persistent_workers=persistent, faults={bad: fault}
    )
    assert seen_numbers(seen) == [*drawn[:4], None, *drawn[5:]]
    said = capsys.readouterr().out
    assert said.count('A worker died (SIG') == deaths
    assert f'/numbers/{bad}. The record is left out from now on' in said


@pytest.mark.slow
def test_workers_that_die_whatever_they_read_end_the_run_with_the_mend(tmp_path):
    faults = dict.fromkeys(range(40), told_to_stop)
    with pytest.raises(RuntimeError, match=r'died 6 times in a row, .*Lower train_dataloader\.num_workers'):
        small_run(tmp_path / 'run', 8, num_workers=1, faults=faults)
