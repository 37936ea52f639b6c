"""The run of the 4B's other config on a miniature: the segmenter listens, then captions are compared.

Under bf16, with recomputation, four iterations per update and a teacher, all as the config has them.
"""

import math
from collections import defaultdict

import pytest
from mmengine.hooks import Hook

from tests.small_4b import run_small_4b, small_4b

LENGTH = 16
LISTENING, COMPARING = range(LENGTH // 2), range(LENGTH // 2, LENGTH)


class Watch(Hook):
    """What each iteration logged, and which weights had a gradient after it, with those that it added to."""

    priority = 'LOWEST'

    def before_train(self, runner):
        runner.watch, self.logged, self.moved = self, [], []
        self.weights = list(runner.model.student.named_parameters())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logged.append({name: float(value) for name, value in outputs.items()})
        self.moved.append({name for name, p in self.weights if p.grad is not None and p.grad.any()})


@pytest.fixture(scope='module')
def watch(tmp_path_factory) -> Watch:
    config = small_4b('mask_caption_sft_4b_weighted', tmp_path_factory.mktemp('run') / 'work', LENGTH, Watch)
    # Random weights are sure of nothing.
    config.model.objectives.segment_captions.update(min_confidence=1e-12)
    return run_small_4b(config).watch


def iterations(watch: Watch) -> dict[str, set[int]]:
    """By what was logged, in which iterations."""
    found = defaultdict(set)
    for number, logged in enumerate(watch.logged):
        for name in logged:
            found[name].add(number)
    return found


@pytest.mark.slow
def test_each_half_has_its_own_losses(watch):
    found = iterations(watch)
    captioned = {number for number in range(LENGTH) if number in found['loss_kl']}
    assert captioned & set(LISTENING)
    assert captioned & set(COMPARING)
    assert found['loss_weighted'] == captioned & set(COMPARING)
    assert 'signal/bridge_iou' not in found  # no gradient through the text
    assert found['signal/sure_ratio'] == captioned
    assert all(math.isfinite(logged['loss']) for logged in watch.logged)


@pytest.mark.slow
def test_people_s_expressions_are_found_in_both_halves_and_never_written(watch):
    found = iterations(watch)
    assert found['loss_iou'] & set(LISTENING)
    assert found['loss_iou'] & set(COMPARING)
    assert 'loss_caption' not in found


@pytest.mark.slow
def test_the_start_holds_the_describer_in_both_halves(watch):
    for numbers in (LISTENING, COMPARING):
        logged = [watch.logged[number] for number in numbers]
        moved = [values for values in logged if values.get('signal/kl', 0) > 1e-9]
        assert moved
        for values in moved:
            assert values['loss_kl'] == pytest.approx(values['signal/kl'], rel=1e-4)


@pytest.mark.slow
def test_each_half_gives_lora_and_segmenter_a_gradient(watch):
    names = [name for name, p in watch.weights if p.requires_grad]
    assert sum('lora_' in name for name in names) == 28
    for numbers in (LISTENING, COMPARING):
        moved = set().union(*(watch.moved[number] for number in numbers))
        kinds = ('lora_', 'mask_decoder.transformer', 'text_hidden_fcs')
        assert [name for name in names if any(kind in name for kind in kinds) and name not in moved] == []
