"""Every config builds, and its choices reach the objects they are meant for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from projects.mask_caption_sft.datasets.transforms import PackRegions, SecondView
from projects.mask_caption_sft.engine.base_sizes import follow_base, packers
from projects.mask_caption_sft.engine.context import context_problems
from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper
from projects.mask_caption_sft.engine.schedules import in_iterations
from projects.mask_caption_sft.estimating.estimate import GIB, Estimate
from projects.mask_caption_sft.loop.bridges import SoftTokenBridge
from projects.mask_caption_sft.loop.objectives import TeacherIoU
from projects.mask_caption_sft.ops.build import build
from projects.mask_caption_sft.sa2va.meta import build_on_meta
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.confusable import confusable_scene
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE, TRAINED_QWEN3_VL, write_world

CONFIGS = sorted(Path('configs').glob('*.py'))
#: Configs that make a base.
BASES = ('sa2va_tiny_base', 'sa2va_tiny_base_on', 'sa2va_tiny_qwen3_vl_base')
#: Configs whose base starts from random weights.
FROM_SCRATCH = ('sa2va_tiny_base', 'sa2va_tiny_qwen3_vl_base')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_config_declares_a_run(path):
    config = Config.fromfile(path, format_python_code=False)
    assert {'model', 'train_dataloader', 'optim_wrapper', 'train_cfg', 'default_hooks'} <= config.keys()
    assert Config.fromstring(config.pretty_text, '.py').model.type is not None
    assert None not in config.default_hooks.values()  # the Runner wants them left out


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_objectives_of_a_config_are_built(path):
    """MMEngine's ``update`` merges: a setting of the type that was there before would be left behind."""
    objectives = Config.fromfile(path).model.get('objectives', {})
    for name, objective in objectives.items():
        assert objective is None or type(build(objective)) is objective['type'], name


def test_undivided_advantages_are_undivided():
    config = Config.fromfile('configs/mask_caption_sft_tiny_advantages.py')
    assert not build(config.model.objectives.weighted_captions).weighting.normalize


def test_the_4b_config_has_the_values_of_the_method():
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    lora = config.model.sa2va.lora
    assert (lora.r, lora.lora_alpha, lora.lora_dropout) == (128, 256, 0.05)
    losses, objectives = config.model.segmentation_losses, config.model.objectives
    assert (losses.mask_weight, losses.dice_weight, losses.llm_weight) == (2.0, 0.5, 1.0)
    assert losses.num_points == 12544
    assert objectives.teacher_iou.iou_weight == objectives.human_expressions.iou_weight == 1.0
    assert objectives.human_expressions.caption_weight == 1.0
    assert (objectives.best_of_k.weight, objectives.near_start.weight) == (5.0, 0.05)
    assert (objectives.best_of_k.margin_iou, objectives.best_of_k.min_iou) == (0.05, 0.5)
    assert objectives.segment_captions.gate_iou == 0.5
    assert (objectives.teacher_iou.bridge.temperature, objectives.teacher_iou.bridge.top_k) == (0.5, 50)
    assert (config.model.num_captions, config.model.max_caption_len) == (4, 32)
    assert dict(config.model.sampling) == dict(temperature=1.0, top_k=0, top_p=1.0)
    assert config.model.segment_with == 'teacher'
    assert config.train_dataloader.batch_size == 2
    wrapper = config.optim_wrapper
    assert (wrapper.accumulative_counts, wrapper.optimizer.lr, wrapper.clip_grad.max_norm) == (4, 1e-5, 1.0)
    assert wrapper.dtype == 'bfloat16'
    assert config.custom_hooks[0].momentum == 0.001
    assert config.train_cfg.max_epochs == 1
    assert 'prompt_template' not in config.model.sa2va  # the base states it
    assert dict(wrapper.paramwise_cfg.custom_keys) == dict(
        grounding_encoder=dict(lr_mult=0.2), text_hidden_fcs=dict(lr_mult=0.2)
    )
    for declared in config.train_dataloader.dataset.datasets.values():
        assert declared.pipeline[0].max_regions == 4
    assert config.model.sa2va.train_embeddings is False
    assert config.default_hooks.checkpoint.interval_updates == 1000
    assert set(config.train_dataloader.dataset.datasets) == {
        'sav', 'sa1b', 'openimages', 'refcoco', 'refcoco_plus', 'refcocog',
    }  # fmt: skip


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_config_that_names_a_base_states_nothing_that_follows_from_it(path):
    config = Config.fromfile(path)
    assert ('base' in config.model.sa2va) == (path.stem not in FROM_SCRATCH)
    loaders = [name for name in ('train_dataloader', 'val_dataloader', 'test_dataloader') if name in config]
    found = [node for loader in loaders for _, node in packers(config[loader], loader)]
    assert found
    if path.stem not in BASES:
        assert 'prompt_template' not in config.model.sa2va
        assert not any(size in node for node in found for size in PackRegions.SIZES)


def test_the_4b_trains_sam_2_and_text_hidden_fcs_at_a_fifth_of_the_rate():
    """The names in the config are those of the 4B's own tensors."""
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    model = nn.Module()
    model.student = build_on_meta(**{k: v for k, v in config.model.sa2va.items() if k != 'base'})
    settings = {k: v for k, v in config.optim_wrapper.items() if k not in ('dtype', 'loss_scale')}
    wrapper = build_optim_wrapper(model, settings | dict(type=GuardedOptimWrapper))
    counts = {round(group['lr'], 9): len(group['params']) for group in wrapper.optimizer.param_groups}
    # 504 tensors of LoRA and 6 of the projector; 131 of SAM 2's mask decoder and 4 of text_hidden_fcs.
    assert counts == {1e-5: 510, 2e-6: 135}


@pytest.mark.parametrize('name', ['4b', '4b_packed', 'tiny'])
def test_what_people_said_is_looked_for_in_the_whole_image(name):
    """In a crop "left" may be another thing."""
    config = Config.fromfile(f'configs/mask_caption_sft_{name}.py')
    for key, declared in config.train_dataloader.dataset.datasets.items():
        (second,) = (step for step in declared.pipeline if step['type'] is SecondView)
        assert (second['crop_ratio'] == (1.0, 1.0)) == key.startswith('refcoco'), key


def test_no_crop_of_the_tiny_world_makes_a_size_word_false():
    config = Config.fromfile('configs/mask_caption_sft_tiny.py')
    rng = np.random.default_rng(0)
    things = [thing for _ in range(200) for thing in confusable_scene(rng).things]
    for declared in config.train_dataloader.dataset.datasets.values():
        smallest, _ = declared.pipeline[1]['crop_ratio']
        assert all(replace(t, radius=t.radius / smallest).size == t.size for t in things)


def test_the_packed_config_differs_in_where_the_data_are():
    plain, packed = (Config.fromfile(f'configs/mask_caption_sft_4b{end}.py') for end in ('', '_packed'))
    first, second = (config.train_dataloader.dataset.pop('datasets') for config in (plain, packed))
    assert plain.train_dataloader == packed.train_dataloader
    assert {name: (d.weight, d.pipeline) for name, d in first.items()} == {
        name: (d.weight, d.pipeline) for name, d in second.items()
    }
    assert {d.type.__name__ for d in second.values()} == {'PackedRegions'}
    assert {key for d in second.values() for key in d} == {'type', 'data_root', 'weight', 'pipeline'}


def test_the_24gb_config_has_the_4b_runs_images_per_update_and_validations_on_one_card():
    large, small = (Config.fromfile(f'configs/mask_caption_sft_4b{end}.py') for end in ('', '_24gb'))

    def images_between(config, num_gpus: int) -> tuple[int, int]:
        """Images per update, and from one validation to the next."""
        per_iteration = num_gpus * config.train_dataloader.batch_size
        counts = config.optim_wrapper.accumulative_counts
        assert config.train_cfg.val_interval % counts == 0  # no gradient waits while it validates
        return per_iteration * counts, per_iteration * config.train_cfg.val_interval

    assert images_between(small, num_gpus=1) == images_between(large, num_gpus=8) == (64, 160_000)
    assert small.model.sa2va.activation_checkpointing is True
    small.model.sa2va.update(activation_checkpointing=0.5)
    small.train_dataloader.update(batch_size=2)
    small.optim_wrapper.update(accumulative_counts=4)
    small.train_cfg.update(val_interval=10_000)
    assert small.to_dict() == large.to_dict()  # nothing else differs


@pytest.mark.slow
def test_a_24gb_card_has_room_beside_what_is_counted():
    config = Config.fromfile('configs/mask_caption_sft_4b_24gb.py')
    gib = Estimate(config, num_gpus=1).cost().total_bytes / GIB
    assert 16.5 < gib < 18.0  # 17.1 when written


@pytest.mark.slow
def test_a_sharded_base_leaves_most_of_it_to_the_other_ranks():
    """Of 36 layers of 147 MiB a rank of 8 keeps four and a half, and one that is whole."""
    config = Config.fromfile('configs/mask_caption_sft_4b_sharded.py')
    whole, shared = (Estimate(config, num_gpus).weights['frozen weights'] for num_gpus in (1, 8))
    assert (whole - shared) / GIB == pytest.approx(5.17 - 5.17 / 8 - 5.17 / 36, abs=0.01)


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


def test_the_config_of_v2s_figures_counts_a_missing_mask_as_empty_and_is_else_that_of_v1s():
    v1, v2 = (Config.fromfile(f'configs/mask_caption_sft_4b_official{kind}.py') for kind in ('', '_v2'))
    assert [m.type for m in v2.test_evaluator] == [m.type for m in v1.test_evaluator[:-1]]
    assert {m.missing for m in v2.test_evaluator} == {'empty'}
    assert [(m.prefix, list(m.datasets)) for m in v2.test_evaluator] == [
        (m.prefix, list(m.datasets)) for m in v1.test_evaluator[:-1]
    ]
    assert (v2.test_dataloader, v2.model) == (v1.test_dataloader, v1.model)


def test_the_tiny_config_is_the_same_code_with_smaller_numbers():
    large = Config.fromfile('configs/mask_caption_sft_4b.py')
    small = Config.fromfile('configs/mask_caption_sft_tiny.py')
    assert large.model.type == small.model.type
    assert large.model.keys() == small.model.keys()
    assert large.model.sa2va.keys() == small.model.sa2va.keys()
    assert large.train_dataloader.dataset.type == small.train_dataloader.dataset.type


@pytest.mark.parametrize('path', [c for c in CONFIGS if c.stem not in BASES], ids=lambda path: path.stem)
def test_schedules_follow_the_length_of_the_run(path):
    for max_iters in (1000, 112_000):
        warm_up, cosine = in_iterations(Config.fromfile(path).param_scheduler, max_iters)
        assert warm_up['begin'] == 0
        assert 0 < warm_up['end'] == cosine['begin'] <= 0.1 * max_iters
        assert cosine['end'] == max_iters


def test_the_tiny_config_warms_up_for_20_of_its_400_iterations():
    config = Config.fromfile('configs/mask_caption_sft_tiny.py')
    schedules = in_iterations(config.param_scheduler, config.train_cfg.max_iters)
    assert [(s['begin'], s['end']) for s in schedules] == [(0, 20), (20, 400)]
    assert (schedules[0]['start_factor'], schedules[1]['eta_min']) == (0.05, 2e-5)


@pytest.mark.parametrize(
    ('name', 'base'),
    [('mask_caption_sft_tiny', TRAINED_BASE), ('mask_caption_sft_tiny_qwen3_vl', TRAINED_QWEN3_VL)],
)
def test_a_tiny_base_has_room_for_the_prompts_of_its_config(name, base):
    config = Config.fromfile(f'configs/{name}.py')
    assert Path(config.model.sa2va.base).parent == Path('data/tiny_world')
    config.model.sa2va.base = str(base)
    follow_base(config)
    assert context_problems(config, Sa2VA(base)) == []


def test_the_tiny_base_starts_anew_with_every_phase():
    config = Config.fromfile('configs/sa2va_tiny_base.py')
    warm_up, restarts = config.param_scheduler
    phases = [phase.iters for phase in config.model.phases]
    assert (warm_up.begin, warm_up.end, restarts.begin) == (0, 100, 100)
    assert [100 + restarts.periods[0], *restarts.periods[1:]] == phases
    assert config.train_cfg.max_iters == sum(phases)


def test_choices_reach_the_model(tmp_path, monkeypatch):
    config = Config.fromfile(Path('configs/mask_caption_sft_tiny.py'))
    write_world(tmp_path / 'data' / 'tiny_world', num_train=1, num_val=1)
    monkeypatch.chdir(tmp_path)
    config.model.update(max_caption_len=7, num_captions=3, segment_with='student')
    config.model.update(predict_with='teacher', predict_dtype='bfloat16', signal_interval=3)
    config.model.update(predict_captions=2)
    config.model.segmentation_losses.update(num_points=99)
    config.model.sampling.update(top_p=0.75)
    objectives = config.model.objectives
    objectives.segment_captions.update(gate_iou=0.25)
    objectives.weighted_captions.update(min_spread=0.75)
    bridge = dict(type=SoftTokenBridge, temperature=0.125, top_k=3)
    objectives.update(near_start=None, teacher_iou=dict(type=TeacherIoU, bridge=bridge))
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
    assert (model.predict_dtype, model.predict_captions) == ('bfloat16', 2)
    taught = model.objectives
    assert (taught['segment_captions'].gate_iou, taught['weighted_captions'].min_spread) == (0.25, 0.75)
    assert (taught['teacher_iou'].bridge.temperature, taught['teacher_iou'].bridge.top_k) == (0.125, 3)
    assert 'near_start' not in taught
    layer = model.student.mllm.model.language_model.layers[0]
    assert layer.gradient_checkpointing
    assert layer.self_attn.q_proj.lora_A['default'].out_features == 2
    assert layer.self_attn.q_proj.scaling['default'] == 3.0
