"""The 4B config's own run on a miniature: its optimizer, schedule, hooks and Runner, some iterations."""

import math
from itertools import pairwise

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from projects.mask_caption_sft.engine.guarded_step import GuardedAmpOptimWrapper
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook
from projects.mask_caption_sft.hooks.update_guard_hook import UpdateGuardHook
from tests.small_4b import run_small_4b, small_4b

LENGTH = 12
#: Iterations, counted from 0, in which one gradient is NaN: one of them spoils the second of three updates.
SPOILT = [5]


class Watch(Hook):
    """Weights and rates after each iteration; makes gradients NaN in ``SPOILT``."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.rates, self.refusals, self.states = [], [], [self._state(runner)]
        weights = dict(runner.model.student.named_parameters())
        lora = next(weights[name] for name in weights if 'lora_B' in name)
        lora.register_hook(lambda gradient: gradient * (math.nan if runner.iter in SPOILT else 1))
        runner.watch = self

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append([group['lr'] for group in runner.optim_wrapper.optimizer.param_groups])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.states.append(self._state(runner))
        self.refusals.append(runner.optim_wrapper.refusal)

    @staticmethod
    def _state(runner):
        return {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}


@pytest.fixture(scope='module')
def runner(tmp_path_factory) -> TrainingRunner:
    """After the run."""
    config = small_4b('mask_caption_sft_4b', tmp_path_factory.mktemp('run') / 'work', LENGTH, Watch)
    # No mask of random weights reaches the thresholds, and nothing would be taught.
    config.model.objectives.best_of_k.update(margin_iou=-1.0, min_iou=0.0)
    config.model.objectives.segment_captions.update(gate_iou=1e-6)
    return run_small_4b(config)


@pytest.mark.slow
def test_the_optimizer_is_the_configs_with_its_two_rates(runner):
    wrapper = runner.optim_wrapper
    assert type(wrapper) is GuardedAmpOptimWrapper
    assert wrapper.cast_dtype == torch.bfloat16
    assert wrapper._accumulative_counts == 4
    rate_of = {
        id(p): group['initial_lr'] for group in wrapper.optimizer.param_groups for p in group['params']
    }
    trained = {n: rate_of[id(p)] for n, p in runner.model.student.named_parameters() if p.requires_grad}
    assert len(rate_of) == len(trained)  # nothing else: no frozen weight, and none of the teacher's
    slow = {n for n, rate in trained.items() if rate == pytest.approx(2e-6)}
    assert slow == {n for n in trained if 'mask_decoder' in n or 'text_hidden_fcs' in n}
    fast = {n for n in trained if 'lora_' in n or 'multi_modal_projector' in n}
    assert fast == trained.keys() - slow
    assert {trained[name] for name in fast} == {1e-5}


@pytest.mark.slow
def test_an_update_with_a_gradient_that_is_not_finite_is_left_out_by_student_and_teacher(runner):
    states, refusals = runner.watch.states, runner.watch.refusals
    moved = [
        {side for side in ('student', 'teacher') for n in after if n.startswith(side) and
         not torch.equal(before[n], after[n])}
        for before, after in pairwise(states)
    ]  # fmt: skip
    both = {'student', 'teacher'}
    assert moved == [set(), set(), set(), both, *[set()] * 7, both]
    assert [number for number, refusal in enumerate(refusals) if refusal] == [7]
    assert refusals[7].reason == 'the gradient is not finite'
    assert all(torch.isfinite(tensor).all() for tensor in states[-1].values())


@pytest.mark.slow
def test_the_teacher_makes_a_thousandth_of_the_way_at_each_update(runner):
    states = runner.watch.states
    for before, after in ((states[3], states[4]), (states[11], states[12])):
        for name in (name for name in after if name.startswith('student.')):
            teacher = name.replace('student.', 'teacher.')
            expected = before[teacher].lerp(after[name], 0.001)
            torch.testing.assert_close(after[teacher], expected, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.slow
def test_every_lora_tensor_has_changed(runner):
    first, last = runner.watch.states[0], runner.watch.states[-1]
    lora = [name for name in last if name.startswith('student.') and 'lora_' in name]
    assert len(lora) == 28  # 2 layers x 7 matrices x 2
    assert [name for name in lora if torch.equal(first[name], last[name])] == []


@pytest.mark.slow
def test_rates_follow_the_cosine_and_stand_still_for_a_refused_update(runner):
    """Of so short a run the warm-up is left out."""
    counted = [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]  # the schedule's own iterations: the second update again
    shares = [(1 + math.cos(math.pi * step / LENGTH)) / 2 for step in counted]
    fast, slow = zip(*(sorted(rates, reverse=True) for rates in runner.watch.rates))
    assert fast == pytest.approx([1e-5 * share for share in shares])
    assert slow == pytest.approx([2e-6 * share for share in shares])


@pytest.mark.slow
def test_the_hooks_are_those_of_the_config(runner):
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    declared = [*config.default_hooks.values(), *config.custom_hooks]
    names = {getattr(hook.type, '__name__', hook.type) for hook in declared}
    assert names <= {type(hook).__name__ for hook in runner.hooks}
    by_kind = {type(hook): hook for hook in runner.hooks}
    assert by_kind[TeacherEMAHook].momentum == 0.001
    assert by_kind[UpdateGuardHook].max_in_row == 10
