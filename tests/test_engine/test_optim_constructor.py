"""The optimizer's parameter groups, and what is said about them."""

from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.optim import AdamW

from projects.mask_caption_sft.engine.optim_constructor import (
    GroupedOptimWrapperConstructor,
    describe_groups,
)


def built(paramwise_cfg=None):
    model = nn.ModuleDict({'head': nn.Linear(2, 3), 'body': nn.Linear(4, 5), 'frozen': nn.Linear(6, 7)})
    model['frozen'].requires_grad_(False)
    config = dict(
        constructor=GroupedOptimWrapperConstructor,
        optimizer=dict(type=AdamW, lr=0.5, weight_decay=0.25),
        paramwise_cfg=paramwise_cfg,
    )
    return build_optim_wrapper(model, config)


def test_trained_tensors_and_parameters_are_counted_by_group():
    assert describe_groups(built()).splitlines() == [
        'Trained:', '  lr 0.5, weight decay 0.25: 4 tensors, 34 parameters'
    ]  # fmt: skip
    assert describe_groups(built(dict(custom_keys={'head': dict(lr_mult=0.1)}))).splitlines() == [
        'Trained:',
        '  lr 0.05, weight decay 0.25: 2 tensors, 9 parameters',
        '  lr 0.5, weight decay 0.25: 2 tensors, 25 parameters',
    ]


def test_the_log_holds_the_groups_and_not_every_tensor(monkeypatch):
    logger, lines = MMLogger.get_current_instance(), []
    monkeypatch.setattr(logger, 'handle', lambda record: lines.append(record.getMessage()))
    before = logger.level
    built(dict(custom_keys={'head': dict(lr_mult=0.1)}))
    assert logger.level == before
    assert sum(line.startswith('Trained:') for line in lines) == 1
    assert not any('frozen' in line or 'body' in line for line in lines)


def test_trained_tensors_with_the_same_settings_share_a_group():
    wrapper = built(dict(custom_keys={'head': dict(lr_mult=0.1)}))
    groups = wrapper.optimizer.param_groups
    assert [(group['lr'], [tuple(p.shape) for p in group['params']]) for group in groups] == [
        (0.05, [(3, 2), (3,)]),
        (0.5, [(5, 4), (5,)]),
    ]
    assert all(parameter.requires_grad for group in groups for parameter in group['params'])


def test_groups_with_other_keys_and_the_same_rate_stay_apart():
    """As with ``optim_wrapper.optimizer.weight_decay=0`` beside a custom key that takes it off anyway."""
    config = dict(
        constructor=GroupedOptimWrapperConstructor,
        optimizer=dict(type=AdamW, lr=0.5, weight_decay=0.0),
        paramwise_cfg=dict(custom_keys={'body': dict(decay_mult=0.0)}),
    )
    wrapper = build_optim_wrapper(nn.ModuleDict({'head': nn.Linear(2, 3), 'body': nn.Linear(4, 5)}), config)
    assert [len(group['params']) for group in wrapper.optimizer.param_groups] == [2, 2]
