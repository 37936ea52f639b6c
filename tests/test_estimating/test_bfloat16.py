"""Under bf16 a step does the same work as in float32, and frozen weights take half; and what fits, fits."""

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.estimating.estimate import Estimate
from projects.mask_caption_sft.estimating.fake_loop import drop_values
from projects.mask_caption_sft.estimating.layers import Layers
from projects.mask_caption_sft.estimating.step_count import StepCount, count_step
from projects.mask_caption_sft.estimating.weights import count_weights
from tests.miniature import bfloat16_base
from tests.test_estimating.test_step_count import LAYERS, batch_for, model_of_few


def counted(dtype: torch.dtype) -> tuple[StepCount, dict[str, int]]:
    """A tiny step, and the bytes of its weights, with the frozen ones in a type."""
    layers = Layers(LAYERS['tiny'], LAYERS['tiny'])
    model = model_of_few('tiny', layers, dtype=dtype)
    mode = drop_values(model)
    given = batch_for(model, num_images=2, num_tiles=[2, 1])
    given.pixel_values = mode.from_tensor(given.pixel_values)
    given.g_pixel_values = mode.from_tensor(given.g_pixel_values)
    autocast = None if dtype == torch.float32 else dtype
    count = count_step(model.train(), given, layers, autocast, with_signals=True)
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
    """Norms, layer scales and positions, a hundredth of the tiny model, stay in float32."""
    (_, exact), (_, short) = both
    assert 0.5 < short.pop('frozen weights') / exact.pop('frozen weights') < 0.51
    assert short == exact


@pytest.mark.slow
def test_a_step_holds_less_and_more_than_half(both):
    """Activations in two bytes; losses, masks and the residual stream in four."""
    (exact, _), (short, _) = both
    assert 0.5 * exact.peak_bytes < short.peak_bytes < 0.95 * exact.peak_bytes


@pytest.mark.slow
def test_the_largest_batch_that_fits_fits_and_one_more_does_not():
    """The 4B's config on a miniature base in bf16, with small images that nobody has described."""
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    config.model.sa2va.update(base=str(bfloat16_base()))
    config.model.update(num_captions=2, max_caption_len=4)
    datasets = config.train_dataloader.dataset.datasets
    datasets.update({name: None for name in datasets if name != 'sav'})
    datasets.sav.pipeline[-1].update(max_tiles=1)
    estimate = Estimate(config, num_gpus=2)
    assert (estimate.dtype, estimate.workload.batch_size) == (torch.bfloat16, 2)
    two, three, four = (estimate.cost(batch_size=n).total_bytes for n in (2, 3, 4))
    assert two < three < four
    assert estimate.largest('batch_size', three) == 3
    assert estimate.largest('batch_size', four - 1) == 3
    assert estimate.largest('batch_size', three - 1) == 2
