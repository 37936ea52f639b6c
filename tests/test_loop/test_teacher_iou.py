"""The caption that the bridge carries across, with the 4B's own vocabulary."""

import pytest
import torch

from projects.mask_caption_sft.loop.bridges import SoftTokenBridge, StraightThroughBridge
from projects.mask_caption_sft.loop.objectives import TeacherIoU
from projects.mask_caption_sft.loop.signals import read_signals
from projects.mask_caption_sft.loop.step import Step
from projects.mask_caption_sft.losses import LossTable
from projects.mask_caption_sft.sa2va.generation import Sampling
from tests.miniature import miniature_batch, miniature_sa2va


@pytest.fixture(scope='module')
def student(real_tokenizer):
    return miniature_sa2va(tokenizer=real_tokenizer).eval()


def step_with(student, *texts: str) -> Step:
    """A step whose regions the student described with these words."""
    table = LossTable(graph=student.text_hidden_fcs[0].weight.sum() * 0)
    step = Step(student, student, miniature_batch([None] * len(texts)), table, None, 32, 1, Sampling())
    step.candidates = student.text.encode_answers(texts)
    return step


def test_a_bridge_stands_for_the_words_without_the_end_of_turn(student):
    """The full stop shares its token with the marker; after a space "a" is another token."""
    texts = ['a red shirt.', 'dog']
    carried = TeacherIoU(StraightThroughBridge()).carry(step_with(student, *texts))
    read = student.embed_captions(texts)
    for row in range(2):
        assert torch.equal(carried.embeds[row][carried.mask[row]], read.embeds[row][read.mask[row]])


def test_the_log_says_how_often_the_twins_are_not_the_text(student):
    step = step_with(student, 'a red shirt.', '🚀', 'dog', 'zebra')  # "🚀" and "zebra" split after a space
    read_signals(step)
    assert step.table.averages()['signal/twins_differ_ratio'] == 0.5


def test_soft_tokens_segment_like_the_caption_as_the_temperature_falls():
    student = miniature_sa2va().eval()
    step = step_with(student, 'a', 'b')
    step.candidates = student.describe(step.views1, 6)  # greedy: the likeliest token is the written one
    assert step.candidates.in_caption.any(1).all()

    def masks(bridge):
        return student.segment(step.views2, TeacherIoU(bridge).carry(step)).mask_logits

    exact = masks(StraightThroughBridge())
    gaps = [(masks(SoftTokenBridge(tau, 50)) - exact).abs().max().item() for tau in (1.0, 0.1, 1e-5)]
    assert min(gaps[:2]) > 0.01
    assert gaps[2] < 1e-3


def test_straight_through_segments_exactly_as_the_words_do(student):
    texts = ['a red shirt.', 'dog']
    step = step_with(student, *texts)
    found = student.segment(step.views2, TeacherIoU(StraightThroughBridge()).carry(step)).mask_logits
    expected = student.segment(step.views2, student.embed_captions(texts)).mask_logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
