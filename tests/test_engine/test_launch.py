"""What is put around MMEngine, and the length of a run."""

import datetime
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.engine.launch import check_amp, check_base_dtype, prepare_distributed
from projects.mask_caption_sft.engine.loops import DrawTrainLoop
from projects.mask_caption_sft.preflight.preflight import preflight
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import SIZES, bfloat16_base


@pytest.mark.parametrize('name', ['mask_caption_sft_4b', 'mask_caption_sft_tiny'])
def test_autocast_needs_a_gpu(monkeypatch, name):
    config = Config.fromfile(f'configs/{name}.py')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    check_amp(config)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    if name.endswith('4b'):
        with pytest.raises(ValueError, match='needs a GPU'):
            check_amp(config)
    else:
        check_amp(config)


def config_over(name: str, **sa2va) -> Config:
    """A config over a base that is stored in bfloat16."""
    config = Config.fromfile(f'configs/{name}.py')
    config.model['sa2va'].update(base=str(bfloat16_base()), **sa2va)
    return config


def test_the_4b_holds_its_base_as_released_and_the_tiny_config_in_float32():
    config = config_over('mask_caption_sft_4b')
    assert config.model.sa2va.base_dtype == 'released'
    check_base_dtype(config, trains=True)
    config = config_over('mask_caption_sft_tiny')
    assert config.model.sa2va.base_dtype == 'float32'
    check_base_dtype(config, trains=True)


@pytest.mark.parametrize('chosen', ['released', 'bfloat16'])
def test_half_precision_without_autocast_is_refused_before_anything_is_built(chosen):
    config = config_over('mask_caption_sft_tiny', base_dtype=chosen)
    message = (
        r'\(model\.sa2va\.base_dtype\), which needs bf16 autocast, but optim_wrapper GuardedOptimWrapper '
        r'\(dtype=None\) runs without\. Set optim_wrapper=dict\(type=GuardedAmpOptimWrapper, '
        r"dtype='bfloat16', .*base_dtype='float32'"
    )
    with pytest.raises(ValueError, match=message):
        check_base_dtype(config, trains=True)
    with pytest.raises(ValueError, match=r'model\.predict_dtype=None runs without'):
        check_base_dtype(config, trains=False)
    config.model.update(predict_dtype='bfloat16')
    check_base_dtype(config, trains=False)


def test_autocast_of_another_type_is_refused():
    config = config_over('mask_caption_sft_4b')
    config.optim_wrapper.update(dtype='float16')
    with pytest.raises(ValueError, match=r"AmpOptimWrapper \(dtype='float16'\) runs without"):
        check_base_dtype(config, trains=True)


def test_a_base_that_is_not_there_or_is_in_float32_is_no_error_here(tmp_path):
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    config.model['sa2va'].update(base=str(tmp_path / 'nowhere'))
    check_base_dtype(config, trains=True)
    config = Config.fromfile('configs/mask_caption_sft_tiny.py')
    write_base(new_sa2va(0, SIZES), tmp_path)  # in float32
    config.model['sa2va'].update(base=str(tmp_path), base_dtype='released')
    check_base_dtype(config, trains=True)


def test_the_dry_run_says_it_once(capsys, tmp_path):
    config = config_over('mask_caption_sft_tiny', base_dtype='released')
    config.model.update(predict_dtype='bfloat16')
    config.update(train_dataloader=None, work_dir=str(tmp_path))
    config.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    assert preflight(config) == 1
    printed = capsys.readouterr().out
    assert printed.count('which needs bf16 autocast') == 1
    assert '1 problem(s)' in printed


def test_without_a_gpu_processes_talk_through_gloo_with_the_time_out_of_the_config(monkeypatch):
    started = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda name, timeout: started.append((name, timeout))
    )
    monkeypatch.setenv('RANK', '0')
    env_cfg = Config.fromfile('configs/mask_caption_sft_4b.py').env_cfg
    wrapper = dict(type='MMDistributedDataParallel')
    config = Config(dict(launcher='pytorch', model_wrapper_cfg=wrapper, env_cfg=env_cfg))
    prepare_distributed(config)
    assert started == [('gloo', datetime.timedelta(minutes=30))]
    assert config.model_wrapper_cfg.device_ids is None


def test_a_process_that_no_launcher_has_started_is_told_how(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(ValueError, match=r'not started by torchrun\. Start the run with bash'):
        prepare_distributed(Config(dict(launcher='pytorch')))


@pytest.mark.parametrize(('launcher', 'has_gpu'), [('none', False), ('pytorch', True)])
def test_mmengine_is_left_alone_where_it_can_do_it(monkeypatch, launcher, has_gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    monkeypatch.setattr(torch.distributed, 'init_process_group', pytest.fail)
    monkeypatch.setenv('RANK', '0')
    config = Config(dict(launcher=launcher, model_wrapper_cfg=dict(type='MMDistributedDataParallel')))
    prepare_distributed(config)
    assert 'device_ids' not in config.model_wrapper_cfg


def loop(**kwargs):
    loader = torch.utils.data.DataLoader(torch.arange(40), batch_size=4)
    runner = SimpleNamespace(
        val_loop=None, visualizer=SimpleNamespace(dataset_meta=None), param_schedulers=None
    )
    return DrawTrainLoop(runner, loader, **kwargs)


def test_a_run_is_as_long_as_its_epochs_or_its_iterations():
    assert loop(max_epochs=2).max_iters == 20
    assert loop(max_epochs=0.5).max_iters == 5
    assert loop(max_iters=7).max_iters == 7


def test_both_lengths_or_none_are_refused():
    for lengths in ({}, dict(max_iters=1, max_epochs=1)):
        with pytest.raises(ValueError, match=r'either train_cfg\.max_iters or train_cfg\.max_epochs'):
            loop(**lengths)
