"""Configs as dotted keys."""

import sys

import pytest
import train
from mmengine.config import Config

from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options
from projects.mask_caption_sft.engine.flat_config import config_diff, flat, nearest_keys, print_config

TINY = 'configs/mask_caption_sft_tiny.py'


@pytest.fixture
def config():
    return Config.fromfile(TINY)


def test_every_printed_setting_is_one_that_cfg_options_takes(config):
    printed = flat(config)
    assert printed['train_dataloader.batch_size'] == '6'
    assert printed['custom_hooks.0.momentum'] == '0.001'
    assert printed['model.type'] == 'projects.mask_caption_sft.loop.mask_caption_sft.MaskCaptionSFT'
    assert not any(key.startswith('tiny_pipeline') for key in printed)  # a helper of the file
    for key in printed:
        apply_cfg_options(config, {key: None})


def test_the_difference_of_two_configs_is_what_the_second_changes(config):
    other = Config.fromfile('configs/mask_caption_sft_tiny_frozen_teacher.py')
    assert config_diff(config, other) == '- custom_hooks.0.momentum=0.001\n+ custom_hooks.0.momentum=0.0'
    other = Config.fromfile('configs/mask_caption_sft_tiny_selection.py')
    assert '+ model.objectives.weighted_captions=None' in config_diff(config, other).splitlines()
    assert config_diff(config, Config.fromfile(TINY)) == 'No difference in what a run uses.'


def test_the_tool_prints_settings_and_differences_with_the_overrides_in_place(monkeypatch, capsys):
    changed = ['--cfg-options', 'train_dataloader.batch_size=3']
    monkeypatch.setattr(sys, 'argv', ['train.py', TINY, '--print-config', *changed])
    train.main()
    assert 'train_dataloader.batch_size=3' in capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys, 'argv', ['train.py', TINY, '--diff', TINY, *changed])
    train.main()
    assert capsys.readouterr().out.splitlines() == [
        '- train_dataloader.batch_size=3',
        '+ train_dataloader.batch_size=6',
    ]


@pytest.mark.parametrize(
    ('key', 'nearest'),
    [
        ('lr', 'optim_wrapper.optimizer.lr'),
        ('sa1b.max_sample', 'train_dataloader.dataset.datasets.sa1b.max_samples'),
        ('refcoco.data_rot', 'train_dataloader.dataset.datasets.refcoco.data_root'),
        ('model.lora.r', 'model.sa2va.lora.r'),
        ('max_iter', 'train_cfg.max_iters'),
        ('momentum', 'custom_hooks.0.momentum'),
        ('batchsize', 'train_dataloader.batch_size'),
    ],
)
def test_the_last_part_of_a_mistyped_key_counts_most(config, key, nearest):
    assert nearest_keys(config, key)[0] == nearest


def test_a_key_that_is_like_none_has_no_nearest(config):
    assert nearest_keys(config, 'xyzzy') == []


def test_printed_lines_are_key_and_value(config):
    assert all('=' in line for line in print_config(config).splitlines())
