"""Words are weighed by what they add to others, whole captions by how soon their regions are found."""

import pytest
import torch

from projects.mask_caption_sft.loop import word_weights
from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.objectives import WeightedCaptions
from projects.mask_caption_sft.loop.word_weights import HeardWords, WordWeights
from projects.mask_caption_sft.losses import LossTable, token_losses
from tests.miniature import miniature_batch, miniature_model
from tests.scripted_loop import hearing


def heard(iou_of, texts: list[str], times: int, **settings) -> list[tuple[HeardWords, list[str]]]:
    """Captions of one region, some times, each with what the segmenter was asked for."""
    model, batch = miniature_model(num_captions=1), miniature_batch([None])
    asked: list[str] = []

    def noted(said):
        asked.append(' '.join(said))
        return iou_of(said)

    hearing(model, noted)
    captions = model.student.text.encode_answers(texts)
    step = type('Step', (), dict(table=LossTable(torch.zeros(()))))()
    _, step.views2 = model.student.look(batch)
    step.segmenter, step.student, step.segmenter_prefix = model.teacher, model.student, None
    whole = torch.tensor([float(iou_of(text.split())) for text in texts])
    rows = torch.zeros(len(texts), dtype=torch.long)
    words = WordWeights(**{'weight': 1.0, 'full_iou': 1.0} | settings)
    results = []
    for _ in range(times):
        asked.clear()
        results.append((words(step, rows, captions, whole), list(asked)))
    return results


def weights(iou_of, texts: list[str], **settings) -> dict[tuple[float, ...], float]:
    """The weights of the first caption's tokens, and its worth with them, in some random orders."""
    return {
        tuple(round(weight, 1) for weight in one.weights[0].tolist()): round(one.worth[0].item(), 1)
        for one, _ in heard(iou_of, texts, times=12, **settings)
    }


def test_each_word_adds_what_the_iou_rises_by_and_a_caption_is_worth_their_sum():
    """Nothing finds 0, "red" 0.5, "star" 0.2, both 1. The end of turn weighs 0."""
    ious = {(): 0.0, ('red',): 0.5, ('star',): 0.2, ('red', 'star'): 1.0}
    assert weights(lambda said: ious[tuple(said)], ['red star']) == {
        (0.5, 0.5, 0.0): 1.0,  # red comes first: 0.5, then 1
        (0.8, 0.2, 0.0): 1.0,  # star comes first
    }


def test_of_two_words_that_tell_the_same_the_one_that_comes_first_adds_all():
    either = lambda said: 1.0 if said else 0.5  # noqa: E731
    assert weights(either, ['red star']) == {(0.5, 0.0, 0.0): 0.5, (0.0, 0.5, 0.0): 0.5}


def test_a_word_counts_in_full_from_a_rise_on_and_one_that_misleads_below_zero():
    ious = {(): 0.5, ('red',): 0.9, ('orange',): 0.4, ('red', 'orange'): 0.8}
    assert set(weights(lambda said: ious[tuple(said)], ['red orange'], weight=2.0, full_iou=0.2)) == {
        (2.0, -1.0, 0.0)
    }


def test_a_word_adds_the_mean_over_all_captions_of_its_region_that_say_it():
    """Red adds 0.6 first and 0.2 after star: in "red star" either, in "red" 0.6. Star adds 0.4 or 0."""
    ious = {(): 0.0, ('red',): 0.6, ('star',): 0.4, ('red', 'star'): 0.6}
    found = weights(lambda said: ious[tuple(said)], ['red star', 'red', ''])
    # One of the two others lacks red, and both lack star.
    assert found == {(0.3, 0.0, 0.0): 0.6, (0.2, 0.4, 0.0): 0.8}


def test_equal_captions_are_each_heard_in_an_order_of_their_own():
    """Red adds 0.5 where it comes first, as star does: of fifteen equal captions neither always does."""
    either = lambda said: 1.0 if said else 0.5  # noqa: E731
    [(result, _)] = heard(either, ['red star'] * 15 + [''], times=1, weight=15.0)
    red, star = result.weights[0].tolist()[:2]  # of the fifteen others one lacks each
    assert red + star == pytest.approx(0.5, abs=0.01)
    assert min(red, star) > 0.01


def test_what_all_captions_of_a_region_say_needs_no_teaching_and_what_one_alone_says_all():
    """Each word adds 0.3 in any order; one caption of four is said twice."""
    adds = lambda said: 0.3 * len(said)  # noqa: E731
    texts = ['red star', 'red thing', 'red thing', 'Red, left']
    [(result, _)] = heard(adds, texts, times=1)
    red, star = result.weights[0].tolist()[:2]
    assert (red, star) == pytest.approx((0.0, 0.3), abs=0.01)
    assert result.weights[1].tolist()[:2] == pytest.approx([0.0, 0.3 * 2 / 3], abs=0.01)
    assert result.worth.tolist() == pytest.approx([0.6] * 4, abs=0.01)


def test_a_word_with_a_capital_and_a_comma_is_the_same_word():
    adds = lambda said: 0.4 * ('red' in said) + 0.2 * ('Red,' in said)  # noqa: E731
    [(result, _)] = heard(adds, ['Red, left', 'red left'], times=1)
    assert result.worth.tolist() == pytest.approx([0.3, 0.3], abs=0.01)


def test_a_word_that_a_caption_says_twice_is_worth_it_once_and_is_said_by_one_caption():
    adds = lambda said: 0.4 * len({*said})  # noqa: E731
    assert weights(adds, ['red red', 'star']) == {(0.2, 0.2, 0.0): 0.2}


def test_other_regions_say_nothing_of_this_one(monkeypatch):
    """In region 0 "red" finds all, in region 1 nothing, and nobody else says it there."""
    model = miniature_model(num_captions=1)
    captions = model.student.text.encode_answers(['red', 'star', 'red', 'left'])
    step = type('Step', (), dict(table=LossTable(torch.zeros(()))))()
    step.student, rows = model.student, torch.tensor([0, 0, 1, 1])
    finds = {(0, 'red'): 0.9, (0, 'star'): 0.4, (0, ''): 0.2, (1, 'red'): 0.1, (1, 'left'): 0.5, (1, ''): 0.2}
    monkeypatch.setattr(word_weights, 'partial_iou', lambda *args: finds)
    found = WordWeights(weight=1.0, full_iou=1.0)(step, rows, captions, torch.zeros(4))
    assert found.weights[:, 0].tolist() == pytest.approx([0.7, 0.2, -0.1, 0.3], abs=1e-6)
    assert found.worth.tolist() == pytest.approx([0.7, 0.2, -0.1, 0.3], abs=1e-6)


def test_a_word_that_leads_away_is_unlearned_and_one_that_helps_is_taught():
    """Of "red orange" red is worth 0.3, and without orange 0.04 more is found."""
    even = dict(type=AdvantageWeights)
    weighted = WeightedCaptions(even, weight=1.0, words=dict(weight=2.0, full_iou=0.1))
    model = miniature_model(num_captions=2, objectives=dict(w=weighted)).eval()
    batch = miniature_batch([None])
    written = model.student.text.encode_answers(['red orange', ''])
    model.student.describe = lambda *args: written
    hearing(model, lambda said: 1.0 - 0.3 * ('red' not in said) - 0.04 * ('orange' in said))
    found = model.loss(batch)

    views1, _ = model.student.look(batch)
    scores = model.student.score(views1, model.student.text.encode_answers(['red orange']))
    red, orange, end = token_losses(scores.logits, scores.targets)[0]
    advantage = (0.3 - 0.04) / 2  # an empty caption is worth 0, and never taught
    expected = advantage / 2 * (red + orange + end) + (2.0 * red - 0.8 * orange) / 2
    assert found['loss_weighted'].item() == pytest.approx(expected.item() / 3, rel=0.05)
    assert found['signal/helping_ratio'].item() == found['signal/misleading_ratio'].item() == 0.5


def test_words_that_come_together_share_what_they_add():
    ious = {(): 0.0, ('red', 'star'): 0.6}
    assert weights(lambda said: ious[tuple(said)], ['red star'], max_steps=1) == {(0.3, 0.3, 0.0): 0.6}


def test_a_long_caption_comes_in_as_many_portions_as_are_allowed():
    """Of four words in three portions one is of two words, and any may be."""
    finds = lambda said: len(said) / 4  # noqa: E731
    drawn = heard(finds, ['red star at left'], times=30, max_steps=3)
    for one, parts in drawn:
        assert len(parts) == 3  # the whole one is known
        assert one.weights[0].tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 0], abs=0.05)
        assert one.worth[0].item() == pytest.approx(1.0, abs=0.05)
    lengths = {tuple(sorted(len(part.split()) for part in parts)) for _, parts in drawn}
    assert lengths == {(0, 1, 2), (0, 1, 3), (0, 2, 3)}


def test_equal_parts_of_a_region_s_captions_are_segmented_once_and_an_empty_one_adds_nothing():
    [(result, asked)] = heard(lambda said: len(said) / 4, ['red star', 'star', '', 'red star'], times=1)
    assert len(asked) == len({*asked} - {'red star', 'star', ''})
    assert result.worth.tolist() == pytest.approx([0.5, 0.25, 0.0, 0.5], abs=0.01)
    assert result.weights[2].tolist() == [0.0] * result.weights.shape[1]
    assert torch.equal(result.weights[0], result.weights[3])
    said_twice = heard(lambda said: len(said) / 4, ['red star left'] * 2, times=12)
    assert all(len(asked) == len({*asked}) for _, asked in said_twice)
    # Nothing, one word and two of them, of each of both captions.
    assert max(len(asked) for _, asked in said_twice) == 5


def test_weighted_captions_are_compared_by_what_their_words_are_worth_and_each_word_is_added():
    """Both captions find all in the end, and in any order "red" adds 0.8 and "star" 0.2."""
    weighted = WeightedCaptions(
        dict(type=AdvantageWeights, normalize=True), weight=1.0, words=dict(weight=2.0, full_iou=1.0)
    )
    model = miniature_model(num_captions=2, objectives=dict(w=weighted)).eval()
    written = model.student.text.encode_answers(['red', 'red star'])
    model.student.describe = lambda *args: written
    hearing(model, lambda said: 0.8 * ('red' in said) + 0.2 * ('star' in said))
    batch = miniature_batch([None])
    views1, _ = model.student.look(batch)
    scores = model.student.score(views1[torch.tensor([0, 0])], written)
    short, long = token_losses(scores.logits, scores.targets)
    # Each is a standard deviation from the mean, and only star is said by one alone.
    expected = -short.sum() / 2 + (long.sum() + 2 * 0.2 * long[1]) / 3
    found = model.loss(batch)
    assert found['signal/reward'].item() == pytest.approx(0.9, abs=0.02)
    assert found['loss_weighted'].item() == pytest.approx(expected.item() / 2, rel=0.02, abs=1e-3)


@pytest.mark.parametrize('setting', ['full_iou', 'max_steps'])
def test_settings_that_would_do_nothing_are_refused(setting):
    with pytest.raises(ValueError, match=f'{setting}=0 '):
        WordWeights(**{setting: 0})
