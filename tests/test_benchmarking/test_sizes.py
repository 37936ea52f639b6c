"""The models that a benchmark builds, the batch it gives them, and the turns it takes."""

import pytest
import torch

from projects.mask_caption_sft.benchmarking import compare
from projects.mask_caption_sft.benchmarking.census import BACKWARD, FORWARD, RECOMPUTED, Census
from projects.mask_caption_sft.benchmarking.compare import StepCosts, compare_steps, median_ratio
from projects.mask_caption_sft.benchmarking.plain_step import PlainStep
from projects.mask_caption_sft.benchmarking.report import as_data, comparison_table, utilisation
from projects.mask_caption_sft.benchmarking.sizes import random_batch, random_model, size_config
from projects.mask_caption_sft.sa2va.base_sizes import base_sizes
from projects.mask_caption_sft.sa2va.meta import build_on_meta
from projects.mask_caption_sft.sa2va.released_sizes import released_config


def test_small_is_fifty_million_weights_over_real_inputs():
    config = size_config('small', vocab_size=600)
    weights = sum(p.numel() for p in build_on_meta(config, lora=dict(r=32)).parameters())
    assert 45e6 < weights < 55e6
    sizes = base_sizes(config)
    assert (sizes.image_size, sizes.grid_size**2, sizes.grounding_size) == (448, 256, 1024)
    llm, released = config['llm_config'], size_config('4b', 600)['llm_config']
    heads = [c['num_attention_heads'] // c['num_key_value_heads'] for c in (llm, released)]
    assert heads == [8, 8]


def test_the_4b_is_the_released_one_and_other_names_are_refused():
    assert size_config('4b', 600) == released_config('Sa2VA-4B')
    with pytest.raises(ValueError, match="size='large' is not one of tiny, small, 4b"):
        random_model('large')


def test_every_caption_has_all_its_tokens_wherever_it_is_read():
    model = random_model('tiny', num_captions=3, max_caption_len=6)
    views1, _ = model.student.look(random_batch(model, num_tiles=[1]))
    captions = model.student.describe(views1, 6, 3, model.sampling)
    assert captions.in_caption.sum(1).tolist() == [6] * 6
    assert not captions.has_ended.any()
    assert {len(row) for row in model.student.text.encode_captions(captions.texts)} == {6}


def test_a_batch_has_the_images_regions_and_texts_that_were_asked_for():
    model = random_model('tiny')
    batch = random_batch(model, num_images=2, num_regions=3, num_tiles=[2, 1], num_expressions=1)
    assert batch.num_tiles == [2, 2, 1, 1, 2, 2]  # each image in two views
    assert [text is None for text in batch.expressions] == [True] * 6 + [False]
    assert batch.image_index1.tolist() == [0, 0, 0, 2, 2, 2, 4]
    assert batch.image_index2.tolist() == [1, 1, 1, 3, 3, 3, 5]
    assert all(mask.any() for mask in (*batch.masks1, *batch.masks2))


def test_frozen_weights_in_half_precision_keep_trained_ones_in_full_and_the_start_too():
    model = random_model('tiny', dtype=torch.bfloat16)
    matrices = [p for p in model.student.language_model.parameters() if p.dim() == 2]
    kinds = {(p.requires_grad, p.dtype) for p in matrices}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert model.student.needs_autocast
    parts = (
        model.student.projector,
        model.student.grounding_encoder.mask_decoder,
        model.student.text_hidden_fcs,
    )
    trained = [parameter for part in parts for parameter in part.parameters()]
    assert model.student.start_weights.num_bytes == 4 * sum(parameter.numel() for parameter in trained)
    assert torch.get_default_dtype() == torch.float32


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=['float32', 'bfloat16'])
def turns(request, monkeypatch):
    """Both steps only note that they ran."""
    model = random_model('tiny', dtype=request.param)
    noted = []

    def step(name):
        def loss(*args):
            noted.append(name)
            weight = model.student.text_hidden_fcs[0].bias
            return {'loss_x': weight.sum() * 0, 'graph': weight.sum() * 0}

        return loss

    monkeypatch.setattr(PlainStep, 'loss', step('plain'))
    monkeypatch.setattr(model, 'loss', step('ours'))
    return model, noted


def test_the_two_take_turns(turns):
    model, noted = turns
    costs = compare_steps(model, random_batch(model, num_tiles=[1]), num_pairs=2)
    assert noted == ['plain', 'ours'] * 3  # counted, then twice timed
    assert [len(step.seconds) for step in costs.values()] == [2, 2]


def test_the_plain_step_also_needs_the_frozen_weights_of_its_teacher(turns):
    model, _ = turns
    costs = compare_steps(model, random_batch(model, num_tiles=[1]), num_pairs=1)
    frozen = sum(p.nbytes for p in model.student.parameters() if not p.requires_grad)
    frozen += sum(b.nbytes for b in model.student.buffers())  # some of them share a storage
    assert costs['plain'].weight_bytes - costs['ours'].weight_bytes == pytest.approx(frozen, rel=1e-3)
    trained = sum(p.nbytes for p in model.student.parameters() if p.requires_grad)
    start = model.student.start_weights.num_bytes
    assert costs['ours'].weight_bytes == pytest.approx(frozen + 2 * trained + start, rel=1e-3)


def test_signals_are_left_out_and_the_count_of_iterations_is_put_back():
    model = random_model('tiny')
    with compare.at_iteration(0):  # whatever run this process has seen before
        assert model.is_signal_iter()
        with compare.without_signals():
            assert not model.is_signal_iter()
        assert model.is_signal_iter()


def costs_of(seconds: list[float], flops: int, peak: int) -> StepCosts:
    census = Census(prompt_flops=10, peak_bytes=peak)
    census.flops[FORWARD, 'a', 'language model'] = flops
    census.flops[RECOMPUTED, 'a', 'language model'] = flops
    census.flops[BACKWARD, 'a', 'language model'] = 2 * flops
    return StepCosts(census, weight_bytes=2**20, seconds=seconds)


def test_the_ratio_is_the_median_of_the_pairs_and_recomputation_is_no_use():
    costs = {'plain': costs_of([4.0, 9.0, 3.0], 10**12, 2**20), 'ours': costs_of([2.0, 3.0, 3.0], 10**11, 0)}
    assert median_ratio(costs) == 2  # of 2, 3 and 1; the ratio of the medians is 4 / 3
    assert utilisation(costs['plain'], 10**12) == 3 / 4  # 3 TFLOP in 4 s where 4 were possible
    table = comparison_table(costs, matmul_rate=10**12)
    assert '| seconds, median | 4.00 | 3.00 | 2.00 |' in table
    assert '| peak memory, MiB | 2 | 1 | 2.00 |' in table
    assert '| TFLOP | 4.000 | 0.400 | 10.00 |' in table
    assert as_data(costs, 10**12)['steps']['ours']['flops']['recomputed'] == 10**11


def test_on_a_gpu_the_allocator_has_the_last_word():
    costs = costs_of([1.0], 1, peak=7)
    assert costs.memory() == 2**20 + 7
    costs.peak_bytes = [5, 9, 8]
    assert costs.memory() == 2**20 + 9
