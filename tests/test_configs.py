"""Every config builds, and its choices reach the objects they are meant for."""

from pathlib import Path

import pytest
from mmengine.config import Config

from projects.mask_caption_sft.ops.build import build
from projects.mask_caption_sft.tiny_world.world import write_world

CONFIGS = sorted(Path('configs').glob('*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_config_declares_a_run(path):
    config = Config.fromfile(path)
    assert {'model', 'train_dataloader', 'optim_wrapper', 'train_cfg', 'default_hooks'} <= config.keys()
    assert Config.fromstring(config.pretty_text, '.py').model.type is not None
    assert None not in config.default_hooks.values()  # the Runner wants them left out


def test_the_4b_config_has_the_values_of_the_method():
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    lora = config.model.sa2va.lora
    assert (lora.r, lora.lora_alpha, lora.lora_dropout) == (128, 256, 0.05)
    losses, objectives = config.model.segmentation_losses, config.model.objectives
    assert (losses.mask_weight, losses.dice_weight, losses.llm_weight) == (2.0, 0.5, 1.0)
    assert losses.num_points == 12544
    assert objectives.teacher_iou.iou_weight == objectives.human_expressions.iou_weight == 1.0
    assert objectives.human_expressions.caption_weight == 1.0
    assert (objectives.best_of_k.weight, objectives.near_start.weight) == (1.0, 0.05)
    assert config.model.segment_with == 'teacher'
    assert config.train_dataloader.batch_size == 2
    wrapper = config.optim_wrapper
    assert (wrapper.accumulative_counts, wrapper.optimizer.lr, wrapper.clip_grad.max_norm) == (4, 1e-5, 1.0)
    assert wrapper.dtype == 'bfloat16'
    assert config.custom_hooks[0].momentum == 0.001
    assert config.train_cfg.max_epochs == 1
    assert 'prompt_template' not in config.model.sa2va  # the base states it
    assert config.model.sa2va.train_embeddings is False
    assert config.default_hooks.checkpoint.interval_updates == 1000
    assert set(config.train_dataloader.dataset.datasets) == {
        'sav', 'sa1b', 'openimages', 'refcoco', 'refcoco_plus', 'refcocog',
    }  # fmt: skip


def test_the_packed_config_differs_in_where_the_data_are():
    plain, packed = (Config.fromfile(f'configs/mask_caption_sft_4b{end}.py') for end in ('', '_packed'))
    first, second = (config.train_dataloader.dataset.pop('datasets') for config in (plain, packed))
    assert plain.train_dataloader == packed.train_dataloader
    assert {name: (d.weight, d.pipeline) for name, d in first.items()} == {
        name: (d.weight, d.pipeline) for name, d in second.items()
    }
    assert {d.type.__name__ for d in second.values()} == {'PackedRegions'}
    assert {key for d in second.values() for key in d} == {'type', 'data_root', 'weight', 'pipeline'}


def test_the_official_config_has_a_figure_for_every_split_and_trains_as_its_parent():
    official = Config.fromfile('configs/mask_caption_sft_4b_official.py')
    splits = official.test_dataloader.dataset.datasets
    assert {name: (Path(d.data_root).name, d.split_by, d.split) for name, d in splits.items()} == {
        'refcoco_val': ('refcoco', 'unc', 'val'),
        'refcoco_testA': ('refcoco', 'unc', 'testA'),
        'refcoco_testB': ('refcoco', 'unc', 'testB'),
        'refcoco_plus_val': ('refcoco+', 'unc', 'val'),
        'refcoco_plus_testA': ('refcoco+', 'unc', 'testA'),
        'refcoco_plus_testB': ('refcoco+', 'unc', 'testB'),
        'refcocog_val': ('refcocog', 'umd', 'val'),
        'refcocog_test': ('refcocog', 'umd', 'test'),
    }
    assert all(d.every_expression for d in splits.values())
    *masks, captions = official.test_evaluator
    assert [(m.prefix, list(m.datasets), m.missing) for m in masks] == [
        (name, [name], 'left_out') for name in splits
    ]
    assert (captions.protocol, list(captions.datasets)) == ('upstream', ['refcocog_val'])
    assert (official.model.predict_answers, official.model.sa2va.round_grounding_stats) == ('written', True)
    assert official.val_evaluator == Config.fromfile('configs/mask_caption_sft_4b.py').val_evaluator


def test_the_tiny_config_is_the_same_code_with_smaller_numbers():
    large = Config.fromfile('configs/mask_caption_sft_4b.py')
    small = Config.fromfile('configs/mask_caption_sft_tiny.py')
    assert large.model.type == small.model.type
    assert large.model.keys() == small.model.keys()
    assert large.model.sa2va.keys() == small.model.sa2va.keys()
    assert large.train_dataloader.dataset.type == small.train_dataloader.dataset.type


def test_choices_reach_the_model(tmp_path, monkeypatch):
    config = Config.fromfile(Path('configs/mask_caption_sft_tiny.py'))
    write_world(tmp_path / 'data' / 'tiny_world', num_train=1, num_val=1)
    monkeypatch.chdir(tmp_path)
    config.model.update(max_caption_len=7, num_captions=3, segment_with='student')
    config.model.update(predict_with='teacher', predict_dtype='bfloat16', signal_interval=3)
    config.model.segmentation_losses.update(num_points=99)
    config.model.sampling.update(top_p=0.75)
    objectives = config.model.objectives
    objectives.segment_captions.update(gate_iou=0.25)
    objectives.best_of_k.update(min_iou=0.75)
    objectives.teacher_iou.bridge.update(temperature=0.125, top_k=3)
    objectives.update(near_start=None)
    config.model.sa2va.update(activation_checkpointing=True)
    config.model.sa2va.lora.update(r=2, lora_alpha=6)
    model = build(dict(config.model))
    assert (model.max_caption_len, model.num_captions, model.sampling.top_p) == (7, 3, 0.75)
    assert model.segmentation_losses.num_points == 99
    assert (model.segmenter is model.student, model.predict_with, model.signal_interval) == (
        True,
        'teacher',
        3,
    )
    assert model.predict_dtype == 'bfloat16'
    taught = model.objectives
    assert (taught['segment_captions'].gate_iou, taught['best_of_k'].min_iou) == (0.25, 0.75)
    assert (taught['teacher_iou'].bridge.temperature, taught['teacher_iou'].bridge.top_k) == (0.125, 3)
    assert 'near_start' not in taught
    layer = model.student.mllm.model.language_model.layers[0]
    assert layer.gradient_checkpointing
    assert layer.self_attn.q_proj.lora_A['default'].out_features == 2
    assert layer.self_attn.q_proj.scaling['default'] == 3.0
