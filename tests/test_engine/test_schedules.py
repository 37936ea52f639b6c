"""A schedule in shares of the run follows the run's length, and what it says twice is refused."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import Runner
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from projects.mask_caption_sft.engine.loops import DrawTrainLoop
from projects.mask_caption_sft.engine.optim_constructor import GroupedOptimWrapperConstructor
from projects.mask_caption_sft.engine.schedules import check_schedules, in_iterations
from projects.mask_caption_sft.hooks.resume_settings_hook import ResumeSettingsHook

LR = 1e-5
WARM_UP = dict(type=LinearLR, start_factor=1e-3, by_epoch=False, begin_ratio=0, end_ratio=0.03)
COSINE = dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=False, begin_ratio=0.03, end_ratio=1.0)


class TwoWeights(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    def forward(self, inputs, mode='loss'):
        return {'loss': self.body(self.head(inputs)).square().mean()}


class RememberLearningRates(Hook):
    """The learning rate each iteration was trained with: before the schedules step (priority LOW)."""

    def __init__(self) -> None:
        self.rates, self.by_group = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.by_group.append(runner.optim_wrapper.get_lr()['lr'])
        self.rates.append(self.by_group[-1][0])

    def before_save_checkpoint(self, runner, checkpoint):
        # MMEngine's log histories are pickled objects, which torch.load refuses.
        checkpoint['message_hub'] = dict(log_scalars={}, runtime_info={}, resumed_keys={})


def train(
    work_dir, schedule=(WARM_UP, COSINE), lr=LR, weight_decay=0.05, resume=None, paramwise=None, **length
):
    """A run on 200 draws; returns the hook that has seen its learning rates, and the runner."""
    seen = RememberLearningRates()
    runner = Runner(
        TwoWeights(),
        str(work_dir),
        train_dataloader=DataLoader(TensorDataset(torch.ones(200, 1)), batch_size=1),
        train_cfg=dict(type=DrawTrainLoop, **length),
        optim_wrapper=dict(
            type=OptimWrapper,
            constructor=GroupedOptimWrapperConstructor,
            optimizer=dict(type=AdamW, lr=lr, weight_decay=weight_decay),
            accumulative_counts=4,
            paramwise_cfg=paramwise,
        ),
        param_scheduler=list(schedule),
        custom_hooks=[seen, ResumeSettingsHook()],
        default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=50)),
        load_from=resume and str(resume),
        resume=resume is not None,
        experiment_name=str(work_dir).replace('/', '_'),
        log_level='ERROR',
    )
    runner.train()
    return seen, runner


@pytest.mark.parametrize(
    ('length', 'num_iters', 'warm_up'),
    [
        (dict(max_epochs=0.2), 40, 1),  # 1.2 iterations: too short for a ramp
        (dict(max_epochs=1), 200, 6),
        (dict(max_epochs=2), 400, 12),
        (dict(max_iters=200), 200, 6),
        (dict(max_iters=100), 100, 3),
    ],
    ids=str,
)
def test_the_schedule_of_the_4b_config_spans_the_run_whatever_its_length(
    tmp_path, length, num_iters, warm_up
):
    schedule = Config.fromfile('configs/mask_caption_sft_4b.py').param_scheduler
    rates = train(tmp_path, schedule, **length)[0].rates
    assert len(rates) == num_iters
    assert rates[0] == pytest.approx(LR * 1e-3 if warm_up > 1 else LR)
    assert rates[warm_up - 1] == pytest.approx(LR)
    half = (num_iters - warm_up) // 2
    cosine = [
        0.5 * LR * (1 + math.cos(math.pi * i / (num_iters - warm_up)))
        for i in (half, num_iters - warm_up - 1)
    ]
    assert rates[warm_up + half] == pytest.approx(cosine[0])
    assert cosine[0] == pytest.approx(LR / 2, rel=0.05)  # so the second of two epochs still learns
    assert rates[-1] == pytest.approx(cosine[1])
    assert 0 < rates[-1] < 0.002 * LR  # 40 iterations: (1 + cos(pi 38/39)) / 2 = 0.0016


def test_shares_become_iterations_by_rounding():
    assert [(s['begin'], s['end']) for s in in_iterations([WARM_UP, COSINE], 1000)] == [(0, 30), (30, 1000)]
    assert in_iterations([WARM_UP], 1000)[0] == dict(
        type=LinearLR, start_factor=1e-3, by_epoch=False, begin=0, end=30
    )
    assert [(s['begin'], s['end']) for s in in_iterations([WARM_UP, COSINE], 6)] == [
        (0, 6)
    ]  # 0.18: no warm-up


def test_a_share_left_open_reaches_the_start_or_the_end():
    (first,) = in_iterations(dict(type=LinearLR, by_epoch=False, end_ratio=0.5), 10)
    (second,) = in_iterations(dict(type=LinearLR, by_epoch=False, begin_ratio=0.5), 10)
    assert (first['begin'], first['end'], second['begin'], second['end']) == (0, 5, 5, 10)


def test_iterations_and_none_stay_as_they_are():
    given = [dict(type=LinearLR, by_epoch=False, begin=0, end=20), dict(type=CosineAnnealingLR, T_max=5)]
    assert in_iterations(given, 1000) == given
    assert in_iterations(None, 1000) is None


def test_each_optimizer_may_have_schedules_of_its_own():
    both = in_iterations(dict(one=[COSINE], two=COSINE), 1000)
    assert {name: schedules[0]['end'] for name, schedules in both.items()} == dict(one=1000, two=1000)


def test_a_schedule_in_iterations_is_followed(tmp_path):
    schedule = [dict(type=LinearLR, start_factor=0.5, by_epoch=False, begin=0, end=5)]
    rates = train(tmp_path, schedule, max_iters=8)[0].rates
    assert rates == pytest.approx([LR * f for f in (0.5, 0.625, 0.75, 0.875, 1, 1, 1, 1)])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(end=600),
            r'param_scheduler\.1 states shares .*end_ratio=1\.0\) and iterations \(end=600\). Leave',
        ),
        (dict(T_max=600), r'iterations \(T_max=600\)'),
        (dict(begin=0), r'iterations \(begin=0\)'),
        (dict(by_epoch=True), 'counted in iterations. Set by_epoch=False'),
        (dict(convert_to_iter_based=True), 'leave convert_to_iter_based out'),
        (dict(begin_ratio=30), r'begin_ratio=30, .* must satisfy 0 <= begin_ratio < end_ratio <= 1'),
        (dict(end_ratio=0.03), r'end_ratio=0\.03\. Shares'),
    ],
    ids=str,
)
def test_shares_that_are_not_clear_are_refused_with_the_mend(change, message):
    with pytest.raises(ValueError, match=message):
        in_iterations([WARM_UP, COSINE | change], 1000)


def test_by_epoch_has_to_be_said_because_mmengine_counts_epochs_otherwise():
    with pytest.raises(ValueError, match='Set by_epoch=False'):
        check_schedules(dict(type=CosineAnnealingLR, end_ratio=1.0))


def test_a_resumed_run_has_the_rates_of_the_run_that_was_not_interrupted(tmp_path):
    parts = dict(custom_keys={'head': dict(lr_mult=0.2)})
    whole, _ = train(tmp_path / 'whole', paramwise=parts, max_iters=100)
    resumed, _ = train(
        tmp_path / 'again', paramwise=parts, max_iters=100, resume=tmp_path / 'whole/iter_50.pth'
    )
    assert resumed.by_group == whole.by_group[50:]
    assert whole.by_group[70][0] == pytest.approx(0.2 * whole.by_group[70][1])


def test_a_run_that_is_made_longer_on_resume_has_the_rates_of_the_longer_run(tmp_path):
    train(tmp_path / 'short', max_iters=50)
    longer, _ = train(tmp_path / 'again', max_iters=100, resume=tmp_path / 'short/iter_50.pth')
    assert longer.rates == train(tmp_path / 'whole', max_iters=100)[0].rates[50:]


def test_settings_of_the_optimizer_that_are_changed_on_resume_take_effect(tmp_path):
    train(tmp_path / 'first', max_iters=50)
    changed = dict(lr=3e-5, weight_decay=0.5, max_iters=100)
    resumed, runner = train(tmp_path / 'again', resume=tmp_path / 'first/iter_50.pth', **changed)
    assert resumed.rates == train(tmp_path / 'whole', **changed)[0].rates[50:]
    assert runner.optim_wrapper.optimizer.param_groups[0]['weight_decay'] == 0.5
    steps = {int(state['step']) for state in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {26}  # 13 updates in each run of 50: the moments of Adam go on


def test_other_groups_of_parameters_on_resume_are_refused_with_the_mend(tmp_path):
    train(tmp_path / 'first', max_iters=50)
    parts = dict(custom_keys={'head': dict(lr_mult=0.2)})
    with pytest.raises(ValueError, match=r'has 1 groups of parameters, this config makes 2\. To resume, set'):
        train(tmp_path / 'again', paramwise=parts, max_iters=100, resume=tmp_path / 'first/iter_50.pth')
