"""What a step of the loop costs, call by call, and how it is counted."""

import pytest
import torch

from projects.mask_caption_sft.benchmarking.census import (
    BACKWARD,
    FORWARD,
    LANGUAGE_MODEL,
    MASK_DECODER,
    RECOMPUTED,
    SAM2_ENCODER,
    VIT,
    Census,
    count_prompts,
    take_census,
)
from projects.mask_caption_sft.benchmarking.compare import without_signals
from projects.mask_caption_sft.benchmarking.parts import current_part, named_methods, part, timed_parts
from projects.mask_caption_sft.benchmarking.plain_step import PlainStep
from projects.mask_caption_sft.benchmarking.report import calls_in_words
from projects.mask_caption_sft.benchmarking.sizes import open_objectives, write_words_only
from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import WeightedCaptions
from projects.mask_caption_sft.structures import Piece, RegionBatch, RegionSample, View
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from tests.miniature import LORA, SIZES
from tests.noted_memory import Noted

# ---------------------------------------------------------------- a step, worked by hand
#
# Two described regions, one in each of two images of 7 tiles of 36 tokens; K = 4 captions of T = 8 tokens.

IMAGE = 7 * 36 + 4  # with the words before it
DESCRIBE = 38 + 2  # the words behind it, and the two cells of the visual prompt
SEGMENT = 11 + 8 + 6  # the words around a caption, the caption, and "Sure, [SEG]." with its end of turn
#: Calls of the language model, ``(rows, length)``, by the objective that asks and the verb that runs.
CALLS = {
    # All captions grow together. The last token written is read by no step.
    'best_of_k / student.describe': [(2, IMAGE), (2, DESCRIBE), *[(2, 4)] * 8],
    'best_of_k / teacher.segment': [(2, IMAGE), (2, 4 * SEGMENT)],
    # The first image with question, greedy and best caption; padded to it, the second with one caption.
    'student.run': [(4, IMAGE + DESCRIBE + 8 + 8)],
    'teacher_iou / teacher.segment': [(2, SEGMENT)],
    'near_start / student.score_at_start': [(2, IMAGE + DESCRIBE + 8)],
}
PADDING = 2 * (DESCRIBE + 8 + 8 - SEGMENT)
TOKENS = sum(rows * length for calls in CALLS.values() for rows, length in calls)
#: Rows of the other modules: tiles, images, masks.
ROWS = {VIT: 28, SAM2_ENCODER: 2, MASK_DECODER: 12}
#: The most that the whole step may cost, in forward passes of the two describe prompts.
MOST_FORWARD_EQUIVALENTS = 7.4
#: The same where all K captions are taught and not the best one alone; equal ones are scored once.
MOST_WITH_ALL_CAPTIONS = 7.55
#: One of the second images is so little shorter than two first ones that it runs beside them.
WITH_ALL_CAPTIONS = {'student.run': [(3, IMAGE + DESCRIBE + 4 * 8), (1, IMAGE + SEGMENT)]}
#: What the plain step runs for two regions: by part, tokens that one region takes.
PLAIN_TOKENS = {
    'best_of_k / student.describe': 4 * (IMAGE + DESCRIBE + 8),
    'best_of_k / teacher.segment': 4 * (IMAGE + SEGMENT),
    'best_of_k / student.score': IMAGE + DESCRIBE + 8,
    'teacher_iou / student.score': IMAGE + DESCRIBE + 8,
    'teacher_iou / teacher.segment': IMAGE + SEGMENT,
    'segment_captions / student.segment': IMAGE + SEGMENT,
    'near_start / student.score_at_start': IMAGE + DESCRIBE + 8,
}


def model_of(num_captions: int = 4, **objectives) -> MaskCaptionSFT:
    sa2va = new_sa2va(0, SIZES | dict(image_size=168), lora=LORA, activation_checkpointing=True)
    write_words_only(sa2va.text)
    return MaskCaptionSFT(
        sa2va,
        objectives=objectives | open_objectives(),
        num_captions=num_captions,
        max_caption_len=8,
    ).train()


def batch_of(*num_tiles: int) -> RegionBatch:
    """One region in each image; its visual prompt has two cells."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for image, tiles in enumerate(num_tiles):
        masks = torch.zeros(1, 32, 32, dtype=torch.bool)
        masks[:, 4:16, 4:16] = True
        cells = torch.zeros(1, 6, 6, dtype=torch.bool)
        cells[0, 1, 1:3] = True
        views = [
            View(
                f'{image}#{view}',
                torch.randn(tiles, 3, 168, 168, generator=generator),
                torch.zeros(3, 128, 128, dtype=torch.uint8),
                cells,
                masks,
            )
            for view in (1, 2)
        ]
        samples.append(RegionSample('sav', f'{image}', *views, [None]))
    return collate_regions(samples)['batch']


def census_of(model: MaskCaptionSFT, batch: RegionBatch, step=None) -> Census:
    prompts = model.student.describe_prompts(model.student.look(batch)[0])
    models = [model.student, model.teacher, *([step.teacher] if step else [])]
    with without_signals():
        return take_census(
            model,
            models,
            lambda: model.parse_losses((step or model).loss(batch))[0],
            count_prompts(model.student, prompts),
        )


@pytest.fixture(scope='module')
def census() -> Census:
    model = model_of()
    # The last caption is the best: were it the greedy one, it would be scored once for both.
    model.objectives['best_of_k'].reward = lambda step: torch.arange(4.0)[:, None].expand(4, 2)
    return census_of(model, batch_of(7, 7))


def test_a_step_makes_these_calls_and_no_others(census):
    asked = {name: census.calls_of(name) for name in census.parts()}
    found = {name: [(c.rows, c.length) for c in calls] for name, calls in asked.items() if calls}
    assert {name: sorted(calls) for name, calls in found.items()} == {
        name: sorted(calls) for name, calls in CALLS.items()
    }
    assert census.tokens() == TOKENS
    assert census.padding_ratio() == PADDING / TOKENS


def test_the_encoders_run_once_and_the_mask_decoder_for_each_text(census):
    rows = {name: sum(call.rows for call in census.calls_of(module=name)) for name in ROWS}
    assert rows == ROWS
    assert {c.part for c in census.calls_of(module=SAM2_ENCODER)} == {'student.look'}


def test_a_step_costs_no_more_forward_equivalents_than_before(census):
    assert 0.95 * MOST_FORWARD_EQUIVALENTS < census.forward_equivalents() <= MOST_FORWARD_EQUIVALENTS


def test_a_step_that_teaches_all_captions_makes_these_calls_and_costs_no_more():
    """The weighted captions take the place of the best one; the greedy one is among them, and scored once."""
    model = model_of(weighted_captions=WeightedCaptions(AdvantageWeights()))
    del model.objectives['best_of_k']
    census = census_of(model, batch_of(7, 7))
    expected = {name.replace('best_of_k', 'weighted_captions'): calls for name, calls in CALLS.items()}
    asked = {name: census.calls_of(name) for name in census.parts()}
    found = {name: sorted((c.rows, c.length) for c in calls) for name, calls in asked.items() if calls}
    assert found == {name: sorted(calls) for name, calls in (expected | WITH_ALL_CAPTIONS).items()}
    assert sum(call.num_padding for call in census.calls_of()) == DESCRIBE + 4 * 8 - SEGMENT
    assert 0.95 * MOST_WITH_ALL_CAPTIONS < census.forward_equivalents() <= MOST_WITH_ALL_CAPTIONS


@pytest.mark.slow
def test_the_plain_step_scores_every_weighted_caption_in_a_pass_of_its_own():
    model = model_of(weighted_captions=WeightedCaptions(AdvantageWeights()))
    del model.objectives['best_of_k']
    census = census_of(model, batch_of(7, 7), PlainStep(model))
    tokens = {name.replace('best_of_k', 'weighted_captions'): n for name, n in PLAIN_TOKENS.items()}
    tokens['weighted_captions / student.score'] *= 4
    assert {name: census.tokens(name) for name in census.parts()} == {k: 2 * n for k, n in tokens.items()}


def test_what_has_a_gradient_is_recomputed_once(census):
    """Recomputation ends once it has all that the backward pass reads: before a layer's last product."""
    with_gradient = {call.part for call in census.calls_of() if call.with_gradient}
    assert with_gradient == {'student.run', 'teacher_iou / teacher.segment'}
    for name in with_gradient:
        work = census.total(FORWARD, name, LANGUAGE_MODEL)
        # Frozen weights: the gradients of activations, of LoRA, and attention's five products for its two.
        assert 0.9 * work < census.total(BACKWARD, name) < 2.5 * work
    work = census.total(FORWARD, 'student.run', LANGUAGE_MODEL)
    assert 0.8 * work < census.total(RECOMPUTED, 'student.run') < work
    # The teacher's layers keep their few activations: its images were read without gradient. Its mask
    # decoder runs again, as the student's does.
    assert census.total(RECOMPUTED, module=LANGUAGE_MODEL) == census.total(RECOMPUTED, 'student.run')
    decoded = census.total(FORWARD, module=MASK_DECODER) - census.total(
        FORWARD, 'best_of_k / teacher.segment', MASK_DECODER
    )
    assert 0.5 * decoded < census.total(RECOMPUTED, '') <= decoded


def test_nothing_is_left_out(census):
    by_part = sum(
        census.total(FORWARD, name) for name in {key[1] for key in census.flops if key[0] == FORWARD}
    )
    assert by_part + census.total(RECOMPUTED) + census.total(BACKWARD) == census.total()


def test_a_small_image_beside_a_large_one_is_not_padded():
    census = census_of(model_of(num_captions=1), batch_of(7, 1))
    small = IMAGE - 6 * 36
    described, segmented = DESCRIBE + 8, SEGMENT
    found = [(call.rows, call.length) for call in census.calls_of('student.run')]
    assert sorted(found) == [(1, small + segmented), (1, small + described), (2, IMAGE + described)]
    assert sum(call.num_padding for call in census.calls_of()) == described - segmented
    assert census.padding_ratio('student.run') < 0.05


@pytest.mark.slow
def test_the_plain_step_runs_everything_again_for_every_region_and_pass():
    model = model_of()
    census = census_of(model, batch_of(7, 7), PlainStep(model))
    # 8 captions are written, 8 judged; of each region one is taught, one scored, one scored by the start, one
    # found by the teacher and one by the student.
    num_passes = 8 + 8 + 5 * 2
    assert {call.rows for call in census.calls_of()} == {1}
    assert sum(call.length > 1 for call in census.calls_of()) == num_passes
    assert sum(call.rows for call in census.calls_of(module=VIT)) == 7 * num_passes
    assert sum(call.rows for call in census.calls_of(module=SAM2_ENCODER)) == num_passes
    asked = {name: census.tokens(name) for name in census.parts()}
    assert asked == {name: 2 * tokens for name, tokens in PLAIN_TOKENS.items()}


# ---------------------------------------------------------------- how it is counted


def test_the_unit_is_the_layers_work_on_one_prompt():
    """Two per weight and token, and two products of every token with every other in each head."""
    model = model_of()
    layers, length = model.student.mllm.model.language_model.layers, 20
    prompt = Piece(torch.zeros(length, 32))
    matrices = sum(p.numel() for p in layers.parameters() if p.dim() == 2)
    width = 32  # of all heads together
    expected = 2 * length * matrices + len(layers) * 2 * 2 * length * length * width
    assert count_prompts(model.student, [prompt, prompt]) == 2 * expected


def test_memory_is_what_lives_at_one_time():
    weight = torch.zeros(10, requires_grad=True)
    with Noted() as noted:
        y = weight.view(2, 5).exp()  # a view is nothing new, its exponential is 40 bytes
        assert noted.memory.now == 40
        z = (y * y).sum()  # the product lives until it is summed
        assert (noted.memory.now, noted.memory.peak) == (44, 84)
        del y
        assert noted.memory.now == 44  # the graph still holds it
        z.backward()
        del z
        assert noted.memory.now == 40  # the gradient
        weight.grad = None
        assert noted.memory.now == 0


def test_to_count_a_step_holds_nothing_that_it_would_have_let_go(census):
    model, batch = model_of(), batch_of(7, 7)
    with without_signals(), Noted() as noted:
        model.parse_losses(model.loss(batch))[0].backward()
    assert census.peak_bytes == pytest.approx(noted.memory.peak, rel=0.02)


class Speaker:
    def speak(self) -> str:
        return f'{self.hum()}, {current_part()}'

    def hum(self) -> str:
        return current_part()

    def _whisper(self) -> str:
        return current_part()


def test_public_methods_are_parts_and_the_outermost_has_the_name():
    one, other = Speaker(), Speaker()
    with named_methods({'one': one, 'same': one}), part('asked'):
        assert one.speak() == 'asked / one.speak, asked / one.speak'
        assert one.hum() == 'asked / one.hum'
        assert one._whisper() == other.hum() == 'asked'
    assert one.speak() == ', '
    assert vars(one) == {}


def test_a_method_that_was_replaced_on_the_object_is_named_and_put_back():
    one = Speaker()
    one.hum = scripted = lambda: f'scripted {current_part()}'
    with named_methods({'one': one}, with_own_name=False):
        assert one.hum() == 'scripted one'
    assert one.hum is scripted


def test_the_time_within_a_part_is_not_that_of_the_part_around_it():
    ticks = iter(range(0, 100, 10))  # the clock is read where a part begins and ends
    with timed_parts(lambda: next(ticks)) as seconds, part('one'), part('two'):
        pass
    with part('three'):
        pass
    assert seconds == {'': 20, 'one': 20, 'one / two': 10}


def test_a_part_ends_when_it_fails():
    with pytest.raises(KeyError), part('one'):
        raise KeyError
    assert current_part() == ''


def test_calls_are_read_as_rows_by_length(census):
    words = calls_in_words(census.calls_of('best_of_k / student.describe'))
    assert words == f'2 x {IMAGE}, 2 x {DESCRIBE}, 8 of 2 x 4'
    assert calls_in_words([]) == ''


def test_hooks_and_names_are_gone_afterwards(census):
    model = model_of(num_captions=1)
    before = set(vars(model.student)), count_hooks(model)
    census_of(model, batch_of(1))
    assert (set(vars(model.student)), count_hooks(model)) == before


def count_hooks(model: MaskCaptionSFT) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
