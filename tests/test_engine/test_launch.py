"""What is put around MMEngine, and the length of a run."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.engine.launch import check_amp, prepare_distributed
from projects.mask_caption_sft.engine.loops import DrawTrainLoop


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


def test_without_a_gpu_processes_talk_through_gloo(monkeypatch):
    started = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.distributed, 'init_process_group', started.append)
    config = Config(dict(launcher='pytorch', model_wrapper_cfg=dict(type='MMDistributedDataParallel')))
    prepare_distributed(config)
    assert started == ['gloo']
    assert config.model_wrapper_cfg.device_ids is None


@pytest.mark.parametrize(('launcher', 'has_gpu'), [('none', False), ('pytorch', True)])
def test_mmengine_is_left_alone_where_it_can_do_it(monkeypatch, launcher, has_gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    monkeypatch.setattr(torch.distributed, 'init_process_group', pytest.fail)
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
