"""Overrides take effect or are refused."""

from argparse import Namespace

import pytest
from _config import read_config
from mmengine.config import Config

from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options

SAV = 'train_dataloader.dataset.datasets.sav'


@pytest.fixture
def config():
    return Config.fromfile('configs/mask_caption_sft_tiny.py')


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.max_caption_len', 7),
        ('model.sa2va.lora.r', 8),
        ('model.objectives.weighted_captions.words.full_iou', 0.2),
        ('optim_wrapper.optimizer.lr', 1e-3),
        ('custom_hooks.0.momentum', 0.0),
        ('train_dataloader.batch_size', 3),
        (f'{SAV}.data_root', 'elsewhere'),
        (f'{SAV}.pipeline.1.mirror_prob', 0.5),  # a parameter that the config leaves at its default
        (f'{SAV}.max_samples', 5),  # a parameter of the base class
        ('model.sa2va.round_grounding_stats', True),  # a dict without a type of its own
        ('model.sa2va.lora.use_rslora', True),
        ('model.segmentation_losses.num_points', 7),
        ('model.sampling.top_p', 0.5),
    ],
)
def test_an_override_reaches_its_place(config, key, value):
    apply_cfg_options(config, {key: value})
    node = config
    for part in key.split('.'):
        node = node[int(part)] if part.isdigit() else node[part]
    assert node == value


def test_an_override_reaches_the_bridge_of_the_4b():
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    apply_cfg_options(config, {'model.objectives.teacher_iou.bridge.temperature': 0.1})
    assert config.model.objectives.teacher_iou.bridge.temperature == 0.1


def test_one_override_drops_a_dataset(config):
    apply_cfg_options(config, {'train_dataloader.dataset.datasets.refcoco': None})
    assert config.train_dataloader.dataset.datasets.refcoco is None


@pytest.mark.parametrize(('name', 'length'), [('4b', 'max_iters'), ('tiny', 'max_epochs')])
def test_one_override_sets_the_length_of_a_run_whichever_way_the_config_states_it(name, length):
    config = Config.fromfile(f'configs/mask_caption_sft_{name}.py')
    apply_cfg_options(config, {f'train_cfg.{length}': 3})
    assert {key: config.train_cfg[key] for key in config.train_cfg if key.startswith('max')} == {length: 3}


def test_a_key_that_names_nothing_is_refused_with_the_nearest(config):
    with pytest.raises(ValueError, match=r'The nearest existing key is optim_wrapper\.optimizer\.lr'):
        apply_cfg_options(config, {'optim_wrapper.optimiser.lr': 1.0})


def test_a_name_that_was_copied_into_place_is_refused(config):
    assert 'tiny_pipeline' in config
    with pytest.raises(ValueError, match="'tiny_pipeline' was copied into the places that use it"):
        apply_cfg_options(config, {'tiny_pipeline.0.max_regions': 9})


def test_a_position_outside_a_list_is_refused(config):
    with pytest.raises(ValueError, match=r"custom_hooks is a list of 6; '7' is not one of its positions"):
        apply_cfg_options(config, {'custom_hooks.7.momentum': 1.0})


def test_the_text_of_a_config_is_not_formatted(monkeypatch):
    """yapf takes seconds for it, and every checkpoint holds it."""
    monkeypatch.setattr('mmengine.config.config.FormatCode', None)
    config = read_config(Namespace(config='configs/mask_caption_sft_tiny.py', cfg_options={SAV: None}))
    written = Config.fromstring(config.pretty_text, '.py')
    assert written.train_dataloader.dataset.datasets.sav is None
