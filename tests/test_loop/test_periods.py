"""Objectives that teach in a part of the run."""

import pytest
from mmengine.logging import MessageHub

from projects.mask_caption_sft.loop.periods import Periods
from tests.miniature import miniature_batch, miniature_model


@pytest.fixture
def at():
    """Sets the iteration of a run of ten."""
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 10)
    hub.update_info('schedule_offset', 0)
    yield lambda number: hub.update_info('iter', number)
    for name in ('iter', 'max_iters', 'schedule_offset'):
        hub.runtime_info.pop(name, None)


def test_an_objective_teaches_from_its_first_share_until_its_last(at):
    periods = Periods({'late': (0.3, 1.0), 'early': (0.0, 0.3)}, ['early', 'late', 'always'])
    found = {}
    for number in range(10):
        at(number)
        found[number] = [name for name in ('early', 'late', 'always') if periods.is_now(name)]
    assert found == {n: ['early' if n < 3 else 'late', 'always'] for n in range(10)}


def test_outside_a_run_everything_teaches():
    assert Periods({'late': (0.5, 1.0)}, ['late']).is_now('late')


def test_what_does_not_teach_now_adds_no_loss_and_nothing_is_described_for_it(at, monkeypatch):
    periods = dict.fromkeys(('teacher_iou', 'segment_captions', 'near_start'), (0.5, 1.0))
    model, batch = miniature_model(periods=periods), miniature_batch()
    described = []
    describe = model.student.describe
    monkeypatch.setattr(model.student, 'describe', lambda *a, **k: described.append(1) or describe(*a, **k))
    at(4)
    first = model.loss(batch)
    assert not described
    assert 'loss_caption' in first
    assert 'loss_kl' not in first
    at(5)
    assert {'loss_caption', 'loss_kl'} <= set(model.loss(batch))
    assert described


@pytest.mark.parametrize(
    ('periods', 'message'),
    [
        ({'best_of_k': (0.0, 0.5)}, "'best_of_k', which is no objective. There are teacher_iou"),
        ({'near_start': (0.5, 0.5)}, r'near_start=\(0.5, 0.5\) is no part of a run'),
        ({'near_start': (0.5, 1.5)}, 'Give two shares of it'),
        ({'near_start': (0.5,)}, 'Give two shares of it'),
    ],
)
def test_what_is_no_period_is_refused(periods, message):
    with pytest.raises(ValueError, match=message):
        miniature_model(periods=periods)
