"""Two processes with one sample each give the gradients of one process with both."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from projects.mask_caption_sft.datasets import collate_regions
from tests.miniature import miniature_batch, miniature_model, miniature_sample


def samples():
    """Unequal on purpose: three regions without a text here, one with a text there."""
    return [
        miniature_sample('first', [None, None, None], seed=1),
        miniature_sample('second', ['the red circle'], 'refcoco', seed=2),
    ]


def gradients(model, module, batch) -> dict[str, torch.Tensor]:
    total, _ = model.parse_losses(module(batch, mode='loss'))
    total.backward()
    return {n: p.grad for n, p in model.student.named_parameters() if p.grad is not None}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f'file://{folder}/store'
    dist.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
    model = miniature_model().train()
    module = DistributedDataParallel(model, find_unused_parameters=True)
    found = gradients(model, module, collate_regions([samples()[rank]])['batch'])
    if rank == 0:
        torch.save(found, os.path.join(folder, 'gradients.pt'))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_the_gradients_are_those_of_one_process(tmp_path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    found = torch.load(tmp_path / 'gradients.pt')
    model = miniature_model().train()
    expected = gradients(model, model, collate_regions(samples())['batch'])
    learning = [name for name, gradient in expected.items() if gradient.any()]
    assert any('lora_B' in name for name in learning)
    for name in learning:  # float32: sums are taken in another order
        difference = (found[name] - expected[name]).norm()
        assert difference < 1e-3 * expected[name].norm() + 1e-5, name


def test_an_empty_rank_does_not_stop_the_others():
    model = miniature_model()
    losses = model.loss(collate_regions([])['batch'])
    assert losses.keys() >= {n for n in model.loss(miniature_batch()) if n.startswith('loss_')}
