"""The best checkpoint is chosen by a reported metric, and no save costs a checkpoint that is there."""

import errno

import pytest

from projects.mask_caption_sft.engine.atomic_backend import AtomicBackend
from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook
from tests.small_run import small_run


def test_a_metric_of_written_answers_is_not_looked_for_among_given_ones():
    hook = TrainedCheckpointHook(save_best='mask_cycle/second_view_iou', rule='greater')
    hook.key_indicators, hook.rules = ['mask_cycle/second_view_iou'], ['greater']
    with pytest.raises(ValueError, match=r"is not among the metrics \['mask_cycle_given/second_view_iou'\]"):
        hook._save_best_checkpoint(None, {'mask_cycle_given/second_view_iou': 0.5})


def test_the_only_checkpoint_stays_until_the_next_is_written(tmp_path, monkeypatch):
    """A disk that is full at the third save."""
    settings = dict(checkpoint=dict(max_keep_ckpts=1))
    small_run(tmp_path / 'run', 2, **settings)
    put = AtomicBackend.put

    def full(self, content, path):
        if str(path).endswith('iter_3.pth'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, content, path)

    monkeypatch.setattr(AtomicBackend, 'put', full)
    with pytest.raises(OSError, match='No space left'):
        small_run(tmp_path / 'run', 3, resume=True, **settings)
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_2.pth']
    monkeypatch.undo()
    small_run(tmp_path / 'run', 4, resume=True, **settings)
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_4.pth']


def test_between_two_updates_a_better_score_writes_no_checkpoint_to_resume_from(tmp_path):
    """Its gradients, summed up so far, would be lost; the best one itself is written."""
    settings = dict(checkpoint=dict(save_best='score', rule='greater', interval_updates=100))
    runner, _ = small_run(tmp_path / 'run', 4, accumulative_counts=2, **settings)
    hook = next(hook for hook in runner.hooks if isinstance(hook, TrainedCheckpointHook))
    runner.optim_wrapper._inner_count = runner.train_loop._iter = (
        5  # as after an iteration of the next update
    )
    runner.optim_wrapper._max_counts = 8
    hook._save_best_checkpoint(runner, {'score': 1.0})
    names = {path.name for path in (tmp_path / 'run').glob('*.pth')}
    assert names == {'iter_4.pth', 'best_score_iter_5.pth'}


@pytest.mark.parametrize('keys', ['up', ['up', 'wide']])
def test_the_best_so_far_stays_until_the_better_is_written_also_after_a_resume(tmp_path, monkeypatch, keys):
    """The resumed work dir has moved; a disk that is full at the next best."""
    settings = dict(checkpoint=dict(save_best=keys, rule='greater'))

    def names(folder):
        return sorted(path.name for path in (tmp_path / folder).glob('best_*.pth'))

    def hook_of(runner):
        return next(hook for hook in runner.hooks if isinstance(hook, TrainedCheckpointHook))

    def scores(value):
        return {'up': value, 'wide': 1.0}

    runner, _ = small_run(tmp_path / 'run', 2, **settings)
    hook_of(runner)._save_best_checkpoint(runner, scores(1.0))
    before = names('run')
    assert before == ['best_up_iter_2.pth', 'best_wide_iter_2.pth'][: 1 if keys == 'up' else 2]
    (tmp_path / 'run').rename(tmp_path / 'moved')
    runner, _ = small_run(tmp_path / 'moved', 3, resume=True, **settings)

    def full(out_dir, filename, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    runner.save_checkpoint = full
    with pytest.raises(OSError, match='No space left'):
        hook_of(runner)._save_best_checkpoint(runner, scores(2.0))
    assert names('moved') == before
    runner, _ = small_run(tmp_path / 'moved', 4, resume=True, **settings)
    hook_of(runner)._save_best_checkpoint(runner, scores(3.0))
    assert names('moved') == ['best_up_iter_4.pth', *before[1:]]
