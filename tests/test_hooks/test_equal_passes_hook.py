"""Ranks whose sharded model has predicted come together before they wait for each other elsewhere."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.runner import get_priority

from projects.mask_caption_sft.hooks.equal_passes_hook import EqualPassesHook


class CountedPasses:
    count = 0

    def finish(self) -> None:
        self.count += 1


def runner_with(num_batches: int = 0) -> SimpleNamespace:
    loop = SimpleNamespace(dataloader=range(num_batches))
    return SimpleNamespace(model=SimpleNamespace(equal_passes=CountedPasses()), val_loop=loop, test_loop=loop)


def test_after_every_training_iteration():
    """Samples are drawn on ranks that have some."""
    runner = runner_with()
    for iteration in range(3):
        EqualPassesHook().after_train_iter(runner, iteration)
        assert runner.model.equal_passes.count == iteration + 1


@pytest.mark.parametrize('loop', ['val', 'test'])
@pytest.mark.parametrize('num_batches', [0, 1, 3])
def test_once_in_a_validation_after_the_last_batch_if_there_is_one(loop, num_batches):
    hook, runner = EqualPassesHook(), runner_with(num_batches)
    getattr(hook, f'before_{loop}_epoch')(runner)
    assert runner.model.equal_passes.count == (1 if num_batches == 0 else 0)
    for batch in range(num_batches):
        assert runner.model.equal_passes.count == 0
        getattr(hook, f'after_{loop}_iter')(runner, batch)
    assert runner.model.equal_passes.count == 1


def test_nothing_for_a_model_that_is_not_sharded():
    EqualPassesHook().after_train_iter(SimpleNamespace(model=SimpleNamespace(equal_passes=None)), 0)


def test_it_stands_between_what_predicts_and_what_waits():
    """Samples are drawn before it; skipped records, which all ranks exchange, come after it."""
    declared = Config.fromfile('configs/mask_caption_sft_4b.py').custom_hooks
    hooks = {hook.type.__name__: hook.type for hook in declared}
    order = [
        get_priority(hooks[name].priority) for name in ('SampleLogHook', 'EqualPassesHook', 'SkipReportHook')
    ]
    assert order == sorted(set(order))
