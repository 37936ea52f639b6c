"""Parameters, memory, iterations and settings of a config's run."""

import pytest
from mmengine.config import Config

from projects.mask_caption_sft.engine.base_sizes import follow_base
from projects.mask_caption_sft.engine.context import context_problems
from projects.mask_caption_sft.estimating import report
from projects.mask_caption_sft.estimating.estimate import GIB, Cost, Estimate, largest_that_fits
from projects.mask_caption_sft.estimating.iterations import count_iterations
from projects.mask_caption_sft.estimating.workload import Workload
from projects.mask_caption_sft.sa2va.meta import build_on_meta

CONFIG = 'configs/mask_caption_sft_4b.py'


@pytest.fixture(scope='module')
def estimate() -> Estimate:
    return Estimate(Config.fromfile(CONFIG), num_gpus=8)


def test_parameters_are_those_of_the_whole_model(estimate):
    """Two layers are built; the others are like the second."""
    settings = {k: v for k, v in Config.fromfile(CONFIG).model.sa2va.items() if k != 'base'}
    whole = build_on_meta(**settings)
    trained = sum(p.numel() for p in whole.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in whole.parameters() if not p.requires_grad)
    counts = estimate.parameters
    assert sum(n for (kind, _), n in counts.items() if kind == 'trained') == trained == 260_999_749
    assert sum(n for (kind, _), n in counts.items() if kind == 'frozen') == frozen
    assert estimate.weights['frozen weights'] == sum(
        p.nbytes for p in whole.parameters() if not p.requires_grad
    )


def test_bytes_that_stay_on_the_gpu_by_hand(estimate):
    trained, weights = 4 * 260_999_749, estimate.weights
    projector = 2 * 4096 + 4096 * 2048 + 2048 + 2048 * 2048 + 2048  # norm, two layers
    text_hidden_fcs = 2048 * 2048 + 2048 + 2048 * 256 + 256
    mask_decoder = 4_215_109
    assert weights['weights from before training'] == 4 * (projector + text_hidden_fcs + mask_decoder)
    kinds = ('trained weights', "the teacher's own weights", 'gradients', "gradients' copies that DDP sends")
    assert [weights[kind] for kind in kinds] == [trained] * 4
    assert weights["AdamW's two moments"] == 2 * trained
    assert estimate.checkpoint_bytes == 4 * trained  # student, teacher, moments


def test_one_gpu_needs_no_copies_to_send():
    config = Config.fromfile(CONFIG)
    assert Estimate(config).weights["gradients' copies that DDP sends"] == 0


def test_the_largest_step_is_that_of_the_config(estimate):
    # Weights 4, 3, 1, 1, 1, 1: three of eleven pairs are RefCOCO's.
    spoken = ('refcoco', 'refcoco_plus', 'refcocog')
    assert estimate.workload == Workload(2, 4, 4, 7, (16, 16), 18, pytest.approx(3 / 11), spoken)


def test_a_config_of_something_else_is_refused():
    with pytest.raises(ValueError, match='is not the two-stage loop'):
        Estimate(Config.fromfile('configs/sa2va_tiny_base.py'))


@pytest.mark.parametrize(
    ('limit', 'start', 'most', 'largest'),
    [
        (100, 2, 99, 9),  # 10 + 10 n <= 100
        (100, 20, 99, 9),
        (100, 5, 99, 9),
        (100, 1, 99, 9),
        (35, 1, 99, 2),
        (1000, 2, 5, 5),
        (1000, 2, 3, 3),
        (15, 4, 99, 0),
        (15, 1, 99, 0),
    ],
)
def test_the_largest_number_that_fits(limit, start, most, largest):
    asked = []
    found = largest_that_fits(lambda n: asked.append(n) or 10 + 10 * n, limit, start, most)
    assert found == largest
    assert len(asked) <= 4
    assert max(asked) <= max(2 * start, 3)  # a large step takes long to count


def test_what_grows_faster_than_in_proportion():
    assert largest_that_fits(lambda n: n * n + n, 110, 2) == 10  # beyond 4: by the parabola, exactly
    assert largest_that_fits(lambda n: n * n + n, 109, 2) == 9
    assert largest_that_fits(lambda n: n * n, 100, 8) == 9  # between 8 and 16: counted, and by the line


def test_iterations_are_stated_or_follow_from_the_data_or_are_unknown():
    config = Config.fromfile(CONFIG)
    follow_base(config)
    assert count_iterations(config, 8, epoch_len=100) == (7, '')  # 13 draws on a GPU, 2 at a time
    found, why = count_iterations(config, 8)
    assert found is None
    assert 'data/sav_pairs is missing' in why
    config.train_cfg.update(max_iters=200)
    assert count_iterations(config, 8) == (200, '')


class Scripted:
    """An estimate of 10 GiB of weights, and half a GiB for each caption of each region."""

    num_gpus = 1
    num_layers = 4
    weights = {'frozen weights': 10 * GIB}
    workload = Workload(2, 4, 4, 7, (16, 16), num_recomputed=4)

    def _bytes(self, **changes) -> float:
        sizes = {name: getattr(self.workload, name) for name in ('batch_size', 'num_regions', 'num_captions')}
        sizes |= changes
        return 0.5 * GIB * sizes['batch_size'] * sizes['num_regions'] * sizes['num_captions']

    def cost(self) -> Cost:
        return Cost(self.weights | {'activations': self._bytes()}, '', {'all': 2e14})

    def largest(self, setting, limit, most=512, num_recomputed=4):
        values = range(1, most + 1)
        return max((n for n in values if 10 * GIB + self._bytes(**{setting: n}) <= limit), default=0)

    def fewest_recomputed(self, limit):
        return 4 if 10 * GIB + self._bytes() <= limit else None


class Keeping(Scripted):
    """Each of three of its four layers keeps 20 GiB."""

    workload = Workload(2, 4, 4, 7, (16, 16), num_recomputed=1)

    def cost(self) -> Cost:
        return Cost(self.weights | {'activations': self._bytes() + 60 * GIB}, '', {'all': 2e14})

    def fewest_recomputed(self, limit):
        kept = int((limit - 10 * GIB - self._bytes()) // (20 * GIB))
        return None if kept < 0 else 4 - min(kept, 4)


def test_what_exceeds_a_card_is_named_with_the_numbers_that_fit():
    # 10 + 16 GiB; of 24 GiB 21.6 can be used, so 11.6 GiB for captions.
    warning = report.over_memory(Scripted(), 24)
    assert '26.0 GiB per GPU; of 24.0 GiB about 21.6 can be used' in warning
    assert 'train_dataloader.batch_size from 2 to 1, or ' in warning
    assert "ChooseRegions' max_regions from 4 to 2, or model.num_captions from 4 to 2" in warning
    assert report.over_memory(Scripted(), 80) is None


def test_first_more_layers_run_again_for_that_costs_time_alone():
    # 86 GiB; of 80 GiB 72 can be used: 46 GiB for kept layers, so two.
    warning = report.over_memory(Keeping(), 80)
    raised = 'Raise model.sa2va.activation_checkpointing from 0.25 (1 of 4 layers) to 0.5 (2 of 4 layers): it'
    assert raised in warning
    assert 'Lower' not in warning
    # Of 24 GiB 21.6 can be used: too little with all of them.
    warning = report.over_memory(Keeping(), 24)
    assert (
        'Set model.sa2va.activation_checkpointing=True and lower train_dataloader.batch_size from 2 to 1, or '
        in warning
    )


def test_out_of_memory_lets_at_least_one_more_layer_run_again():
    # 86 of 120 GiB were estimated: a tenth less is 77.4, so two layers are kept.
    advice = report.out_of_memory(Keeping(), 120, RuntimeError('CUDA out of memory.'))
    assert 'Raise model.sa2va.activation_checkpointing from 0.25 (1 of 4 layers) to 0.5 (2' in advice


def test_where_no_batch_fits_the_weights_are_named():
    assert 'need 10.0 GiB alone. Lower model.sa2va.lora.r' in report.over_memory(Scripted(), 8)


def test_out_of_memory_lowers_what_was_estimated_to_fit():
    # 26 of 80 GiB were estimated: a tenth less is 23.4, and 13.4 for captions.
    advice = report.out_of_memory(Scripted(), 80, RuntimeError('CUDA out of memory. Tried to\nmore'))
    assert advice.startswith('out of memory: CUDA out of memory. Tried to The estimate is 26.0 GiB of 80.0')
    assert 'model.num_captions from 4 to 3' in advice


def test_the_hours_follow_from_rate_and_utilisation():
    # 200 TFLOP at a quarter of 800 TFLOP/s is a second.
    line = report.hours_line(7200, Scripted().cost(), 800e12, 0.25)
    assert line.startswith('hours: 2.00, 1 s per iteration')
    assert report.hours_line(None, Scripted().cost(), 800e12, 0.25).startswith('hours: unknown; 1 s')


def test_a_prompt_longer_than_the_context_is_named_with_the_numbers_that_fit(estimate):
    config, student = Config.fromfile(CONFIG), estimate.model.student
    assert context_problems(config, student) == []
    config.model.update(max_caption_len=40000)
    problems = context_problems(config, student)
    assert "exceed the model's context of 32768. Lower model.max_caption_len to " in problems[0]
    fits = min(int(problem.rsplit(' ', 1)[1].rstrip('.')) for problem in problems)
    config.model.update(max_caption_len=fits)
    assert context_problems(config, student) == []
    config.model.update(max_caption_len=config.model.max_caption_len + 1)
    assert context_problems(config, student)
