"""What the demo's page shows, without the page."""

from itertools import pairwise

import numpy as np
import pytest

from projects.mask_caption_sft.demo.comparison import Comparison, load_models
from projects.mask_caption_sft.demo.examples import tiny_examples
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE
from tests.tiny_base import cannot_write_seg, tiny_base


@pytest.fixture(scope='module')
def base():
    return Comparison({'model': tiny_base(round_grounding_stats=True)})


def iou(found, mask):
    return (found & mask).sum() / (found | mask).sum()


def test_examples_are_the_same_each_time_and_name_what_is_marked():
    first, again = tiny_examples(2), tiny_examples(2)
    assert all(np.array_equal(a.image1, b.image1) and a.text == b.text for a, b in zip(first, again))
    assert all(example.mask1.any() and example.mask2.any() and example.text for example in first)
    assert len({example.text for example in tiny_examples(6)}) > 1


def test_a_text_finds_its_mask_and_a_round_trip_the_region_in_the_second_image(base):
    examples = tiny_examples(3)
    texts = [base.segment(example.image1, example.text)[0] for example in examples]
    assert np.mean([iou(shown.mask, e.mask1) for shown, e in zip(texts, examples)]) > 0.5
    trips = [base.round_trip(e.image1, e.mask1, e.image2)[0] for e in examples]
    assert max(iou(shown.mask, e.mask2) for shown, e in zip(trips, examples)) > 0.5
    captions = [base.describe(e.image1, e.mask1)[0] for e in examples]
    assert [shown.text for shown in trips] == [shown.text for shown in captions]
    assert not np.array_equal(captions[0].picture, examples[0].image1)


def test_an_answer_without_seg_is_shown_with_what_was_said():
    shown = Comparison({'model': cannot_write_seg(tiny_base())})
    example = tiny_examples(1)[0]
    (found,) = shown.segment(example.image1, example.text)
    assert found.mask is None
    assert found.text.startswith('no [SEG], so no mask: ')
    assert np.array_equal(found.picture, example.image1)


def test_a_mask_that_cannot_be_asked_about_is_refused(base):
    example = tiny_examples(1)[0]
    with pytest.raises(ValueError, match=r'The mask is empty\. Draw on the image, or pick a mask'):
        base.describe(example.image1, np.zeros_like(example.mask1))
    with pytest.raises(ValueError, match='The mask is 5 x 4, the image 192 x 192'):
        base.round_trip(example.image1, np.ones((4, 5), bool), example.image2)


def test_a_run_is_shown_as_student_teacher_and_base(trained_miniature):
    models = load_models(str(trained_miniature.checkpoint))
    assert list(models) == ['student', 'teacher', 'base']
    weights = [model.text_hidden_fcs[0].weight for model in models.values()]
    assert not any((a == b).all() for a, b in pairwise(weights))
    only = load_models(str(trained_miniature.checkpoint), only=['base'])
    assert list(only) == ['base']
    assert (only['base'].text_hidden_fcs[0].weight == weights[2]).all()
    with pytest.raises(ValueError, match=r'holds no teacher\. It has: model'):
        load_models(str(TRAINED_BASE), only=['teacher'])
