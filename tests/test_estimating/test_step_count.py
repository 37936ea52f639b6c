"""What is counted without values and with two layers is what a true step with all of them takes."""

from unittest.mock import patch

import pytest
import torch

from projects.mask_caption_sft.benchmarking import sizes
from projects.mask_caption_sft.benchmarking.census import take_census
from projects.mask_caption_sft.benchmarking.compare import at_iteration
from projects.mask_caption_sft.benchmarking.sizes import random_batch, random_model, size_config
from projects.mask_caption_sft.estimating.fake_loop import as_in_training, drop_values, run_operation
from projects.mask_caption_sft.estimating.layers import Layers
from projects.mask_caption_sft.estimating.step_count import StepCount, count_step
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.sa2va.recomputation import num_recomputed
from projects.mask_caption_sft.structures import RegionBatch

LAYERS = {'tiny': 4, 'small': 6}
SHORT = dict(num_captions=3, max_caption_len=8)


def model_of_few(size: str, layers: Layers, **settings) -> MaskCaptionSFT:
    """Without values, with the layers that stand for all."""

    def few_layers(size: str, vocab_size: int) -> dict:
        config = size_config(size, vocab_size)
        assert config['llm_config']['num_hidden_layers'] == LAYERS[size]
        config['llm_config']['num_hidden_layers'] = layers.num_built
        return config

    with torch.device('meta'), patch.object(sizes, 'size_config', few_layers):
        return random_model(size, **SHORT, activation_checkpointing=layers.share_of_built, **settings)


def counted(size: str, with_signals: bool, share: float = 1.0, **batch) -> StepCount:
    layers = Layers(LAYERS[size], num_recomputed(share, LAYERS[size]))
    model = model_of_few(size, layers)
    mode = drop_values(model)
    given = batch_for(model, **batch)
    given.pixel_values = mode.from_tensor(given.pixel_values)
    given.g_pixel_values = mode.from_tensor(given.g_pixel_values)
    return count_step(model.train(), given, layers, with_signals=with_signals)


def batch_for(model: MaskCaptionSFT, **settings) -> RegionBatch:
    with torch.device('cpu'):
        return random_batch(model, **settings)


def true_census(size: str, with_signals: bool, share: float = 1.0, **batch):
    """In an iteration of an accumulation that finds gradients and adds to them."""
    model = random_model(size, **SHORT, activation_checkpointing=share)
    for parameter in model.student.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    # The last caption is the best, as the estimate assumes: the greedy one would not be scored again.
    rewards = torch.arange(float(model.num_captions))[:, None]
    model.objectives['best_of_k'].reward = lambda step: rewards.expand(-1, len(step.views1))
    given = random_batch(model, **batch)
    with at_iteration(0 if with_signals else 1):
        return take_census(
            model, [model.student, model.teacher], lambda: model.parse_losses(model.loss(given))[0], 1
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ('size', 'num_expressions', 'with_signals', 'share'),
    [
        ('tiny', 0, False, 1.0),
        ('tiny', 0, False, 0.5),
        ('tiny', 0, False, 0.0),
        ('tiny', 1, True, 1.0),
        ('small', 0, False, 0.5),
    ],
)
def test_work_and_memory_of_a_true_step(size, num_expressions, with_signals, share):
    batch = dict(num_images=2, num_tiles=[2, 1], num_regions=1, num_expressions=num_expressions, share=share)
    count, census = counted(size, with_signals, **batch), true_census(size, with_signals, **batch)
    assert count.flops.total() + count.signal_flops == pytest.approx(census.total(), rel=0.001)
    assert count.peak_bytes == pytest.approx(census.peak_bytes, rel=0.1)


@pytest.mark.slow
def test_what_the_signals_take_is_apart():
    with_them, without = (counted('tiny', signals, num_tiles=[1]) for signals in (True, False))
    assert without.signal_flops == 0 < with_them.signal_flops
    # The mask decoder's two convolutions see the first views too: a quarter of a per cent here.
    assert with_them.flops.total() == pytest.approx(without.flops.total(), rel=0.005)
    assert with_them.peak_bytes > without.peak_bytes


def test_one_rank_counts_without_the_others_and_draws_no_random_number(monkeypatch):
    with torch.device('meta'):
        model = random_model('tiny')
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    before = torch.get_rng_state()
    with as_in_training(model, None, with_signals=False):
        assert not torch.distributed.is_initialized()
        assert not model.is_signal_iter()
        torch.rand(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.distributed.is_initialized()


def test_a_value_that_is_not_there_is_one_and_a_mask_lets_all_pass():
    aten = torch.ops.aten
    with torch._subclasses.fake_tensor.FakeTensorMode():
        number, mask = torch.zeros(()), torch.zeros(3, dtype=torch.bool)
    assert run_operation(aten._local_scalar_dense.default, (number,), {}) == 1.0
    assert run_operation(aten.nonzero.default, (mask,), {}).tolist() == [[0], [1], [2]]
    values = torch.arange(3)
    assert run_operation(aten.index.Tensor, (values, [mask]), {}).tolist() == [0, 1, 2]
    known = torch.tensor([True, False, True])
    assert run_operation(aten.index.Tensor, (values, [known]), {}).tolist() == [0, 2]
