"""Under bf16 a step does the same work as in float32, and frozen weights take half; and what fits, fits."""

from unittest.mock import patch

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.benchmarking import sizes
from projects.mask_caption_sft.benchmarking.sizes import random_model
from projects.mask_caption_sft.estimating.estimate import Estimate
from projects.mask_caption_sft.estimating.fake_loop import drop_values
from projects.mask_caption_sft.estimating.step_count import StepCount, count_step
from projects.mask_caption_sft.estimating.weights import count_weights
from tests.miniature import bfloat16_base
from tests.test_estimating.test_step_count import LAYERS, SHORT, batch_for, two_layers


def counted(dtype: torch.dtype) -> tuple[StepCount, dict[str, int]]:
    """A tiny step, and the bytes of its weights, with the frozen ones in a type."""
    with torch.device('meta'), patch.object(sizes, 'size_config', two_layers):
        model = random_model('tiny', dtype=dtype, **SHORT)
    mode = drop_values(model)
    given = batch_for(model, num_images=2, num_tiles=[2, 1])
    given.pixel_values = mode.from_tensor(given.pixel_values)
    given.g_pixel_values = mode.from_tensor(given.g_pixel_values)
    autocast = None if dtype == torch.float32 else dtype
    count = count_step(model.train(), given, LAYERS['tiny'], autocast, with_signals=True)
    return count, count_weights(model, LAYERS['tiny'], num_gpus=2)


@pytest.fixture(scope='module')
def both():
    return counted(torch.float32), counted(torch.bfloat16)


@pytest.mark.slow
def test_the_flops_are_those_of_float32_part_by_part(both):
    (exact, _), (short, _) = both
    assert exact.flops.total() > 1e9
    assert short.flops == exact.flops
    assert short.signal_flops == exact.signal_flops


@pytest.mark.slow
def test_frozen_weights_take_two_bytes_and_trained_ones_four(both):
    (_, exact), (_, short) = both
    assert 2 * short.pop('frozen weights') == exact.pop('frozen weights')
    assert short == exact


@pytest.mark.slow
def test_a_step_holds_less_and_more_than_half(both):
    """Activations in two bytes; losses, masks and the residual stream in four."""
    (exact, _), (short, _) = both
    assert 0.5 * exact.peak_bytes < short.peak_bytes < 0.95 * exact.peak_bytes


@pytest.mark.slow
@pytest.mark.parametrize('setting', ['batch_size', 'num_regions', 'num_captions'])
def test_the_largest_that_fits_fits_and_one_more_does_not(setting):
    """The 4B's config on a miniature base in bf16; a byte less, and one less fits."""
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    config.model.sa2va.update(base=str(bfloat16_base()))
    estimate = Estimate(config, num_gpus=2)
    assert estimate.dtype == torch.bfloat16
    now = getattr(estimate.workload, setting)
    needed = {n: estimate.cost(**{setting: n}).total_bytes for n in (now, now + 1, now + 2)}
    assert needed[now] < needed[now + 1] < needed[now + 2]
    assert estimate.largest(setting, needed[now + 1]) == now + 1
    assert estimate.largest(setting, needed[now + 2] - 1) == now + 1
    assert estimate.largest(setting, needed[now + 1] - 1) == now
