"""The table says what happened, and a broken promise is not good."""

import pytest

from projects.mask_caption_sft.chaos.outcome import Outcome, table

GOOD = dict(fault='SIGKILL', times=3, recovered=3, lost_updates=2, allowed_updates=2, equal=True)


@pytest.mark.parametrize(
    'change', [dict(recovered=2), dict(lost_updates=3), dict(equal=False), dict(problems=['a file is gone'])]
)
def test_each_broken_promise_alone_is_one(change):
    assert Outcome(**GOOD).is_good
    assert not Outcome(**(GOOD | change)).is_good


def test_a_fault_without_a_run_to_compare_with_can_be_good():
    assert Outcome('hostile dataset', 4, 4).is_good


def test_the_table():
    rows = [
        Outcome(**GOOD),
        Outcome('hostile dataset', 4, 4),
        Outcome('cut', 1, 0, 5, 2, False, ['went on from iteration 0, not 8']),
    ]
    assert table(rows).splitlines() == [
        '| fault | times | recovered | lost updates at most | equal |',
        '|---|---|---|---|---|',
        '| SIGKILL | 3 | 3 | 2 | yes |',
        '| hostile dataset | 4 | 4 | | |',
        '| cut | 1 | 0 | 5, more than 2 | NO |',
        '',
        '- cut: went on from iteration 0, not 8',
    ]
