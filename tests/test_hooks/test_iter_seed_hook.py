"""Every iteration of every rank has random numbers of its own, whatever the seed."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import set_random_seed

from projects.mask_caption_sft.hooks import iter_seed_hook
from projects.mask_caption_sft.hooks.iter_seed_hook import IterSeedHook


@pytest.fixture
def draw(monkeypatch):
    def numbers(seed: int, iteration: int, rank: int = 0) -> list[float]:
        monkeypatch.setattr(iter_seed_hook, 'get_rank', lambda: rank)
        IterSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), iteration)
        return torch.rand(4).tolist()

    return numbers


def test_the_same_iteration_has_the_same_numbers_and_any_other_has_others(draw):
    assert draw(0, 7) == draw(0, 7)
    keys = [(0, 7, 0), (7, 0, 0), (0, 0, 7), (0, 8, 0), (2**21, 7, 0), (2**32 - 1, 7, 0)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


@pytest.mark.parametrize('seed', [2**20 + 1, 2**31 - 1, 2**32 - 1])
def test_every_seed_that_mmengine_takes_will_do(draw, seed):
    assert set_random_seed(seed) == seed
    assert len(draw(seed, iteration=10**7, rank=4095)) == 4


def test_a_seed_that_mmengine_draws_will_do(draw):
    assert len(draw(set_random_seed(None), iteration=0)) == 4
