"""Words are weighed by what they add to others, whole captions by how soon their regions are found."""

import pytest
import torch

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


def orders(iou_of, texts: list[str], **settings) -> dict[tuple[float, ...], float]:
    """The weights of the first caption's tokens, and its mean IoU with them, in some random orders."""
    return {
        tuple(round(weight, 1) for weight in one.weights[0].tolist()): round(one.mean_iou[0].item(), 1)
        for one, _ in heard(iou_of, texts, times=12, **settings)
    }


def test_each_word_adds_what_the_iou_rises_by_and_a_caption_is_worth_its_mean():
    """Nothing finds 0, "red" 0.5, "star" 0.2, both 1."""
    ious = {(): 0.0, ('red',): 0.5, ('star',): 0.2, ('red', 'star'): 1.0}
    assert orders(lambda said: ious[tuple(said)], ['red star']) == {
        (0.5, 0.5, 0.0): 0.8,  # red comes first: 0.5, then 1; the end of turn weighs 0
        (0.8, 0.2, 0.0): 0.6,  # star comes first
    }


def test_of_two_words_that_tell_the_same_the_one_that_comes_first_adds_all():
    either = lambda said: 1.0 if said else 0.5  # noqa: E731
    assert orders(either, ['red star']) == {(0.5, 0.0, 0.0): 1.0, (0.0, 0.5, 0.0): 1.0}


def test_a_word_counts_in_full_from_a_rise_on_and_one_that_misleads_below_zero():
    ious = {(): 0.5, ('red',): 0.9, ('orange',): 0.4, ('red', 'orange'): 0.8}
    assert set(orders(lambda said: ious[tuple(said)], ['red orange'], weight=2.0, full_iou=0.2)) == {
        (2.0, -1.0, 0.0)
    }


def test_a_word_that_leads_away_is_unlearned_and_one_that_helps_is_taught():
    """Of "red orange" red is worth 0.3, and without orange 0.04 more is found."""
    even = dict(type=AdvantageWeights)  # of one caption said twice there is nothing to compare
    weighted = WeightedCaptions(even, weight=1.0, words=dict(weight=2.0, full_iou=0.1))
    model = miniature_model(num_captions=2, objectives=dict(w=weighted)).eval()
    batch = miniature_batch([None])
    written = model.student.text.encode_answers(['red orange', 'red orange'])
    model.student.describe = lambda *args: written
    hearing(model, lambda said: 1.0 - 0.3 * ('red' not in said) - 0.04 * ('orange' in said))
    found = model.loss(batch)

    views1, _ = model.student.look(batch)
    scores = model.student.score(views1, model.student.text.encode_answers(['red orange']))
    red, orange, _ = token_losses(scores.logits, scores.targets)[0]  # and the end of turn, which weighs 0
    assert found['loss_weighted'].item() == pytest.approx((2.0 * red - 0.8 * orange).item() / 3, rel=0.05)
    assert found['signal/helping_ratio'].item() == found['signal/misleading_ratio'].item() == 0.5


def test_words_that_come_together_share_what_they_add():
    ious = {(): 0.0, ('red', 'star'): 0.6}
    assert orders(lambda said: ious[tuple(said)], ['red star'], max_steps=1) == {(0.3, 0.3, 0.0): 0.6}


def test_a_long_caption_comes_in_as_many_portions_as_are_allowed():
    """Of four words in three portions one is of two words, and any may be."""
    finds = lambda said: len(said) / 4  # noqa: E731
    drawn = heard(finds, ['red star at left'], times=30, max_steps=3)
    for one, parts in drawn:
        assert len(parts) == 3  # the whole one is known
        assert one.weights[0].tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 0], abs=0.05)
        assert one.mean_iou[0].item() == pytest.approx((0.5 * 2 + 0.75 + 1) / 4, abs=0.05)
    lengths = {tuple(sorted(len(part.split()) for part in parts)) for _, parts in drawn}
    assert lengths == {(0, 1, 2), (0, 1, 3), (0, 2, 3)}


def test_equal_parts_of_a_region_are_segmented_once_and_an_empty_caption_adds_nothing():
    [(result, asked)] = heard(lambda said: len(said) / 4, ['red star', 'star', ''], times=1)
    assert len(asked) == len({*asked} - {'red star', 'star', ''})
    assert result.mean_iou.tolist()[1:] == [0.25, 0.0]
    assert result.weights[2].tolist() == [0.0] * result.weights.shape[1]


def test_weighted_captions_are_compared_by_their_mean_iou_and_each_word_is_added():
    """Both captions find all in the end; "red" at once, "red orange" after orange, which finds nothing."""
    ious = {(): 0.0, ('red',): 1.0, ('orange',): 0.0, ('red', 'orange'): 1.0}
    weighted = WeightedCaptions(
        dict(type=AdvantageWeights, normalize=True), weight=1.0, words=dict(weight=2.0, full_iou=1.0)
    )
    model = miniature_model(num_captions=2, objectives=dict(w=weighted)).eval()
    written = model.student.text.encode_answers(['red', 'red orange'])
    model.student.describe = lambda *args: written
    hearing(model, lambda said: ious[tuple(said)])
    batch = miniature_batch([None])
    views1, _ = model.student.look(batch)
    scores = model.student.score(views1[torch.tensor([0, 0])], written)
    short, long = token_losses(scores.logits, scores.targets)
    seen = set()
    for _ in range(12):
        found = model.loss(batch)
        reward = found['signal/reward'].item()
        seen.add(round(reward, 2))
        advantage = 1.0 if reward < 0.9 else 0.0
        expected = (advantage * short.sum() + 2 * short[0]) / 2 - (advantage * long.sum() - 2 * long[0]) / 3
        assert found['loss_weighted'].item() == pytest.approx(expected.item() / 2, rel=0.02, abs=1e-3)
    assert seen == {0.75, 1.0}  # orange came first, and then the mean of "red orange" is a half


@pytest.mark.parametrize('setting', ['full_iou', 'max_steps'])
def test_settings_that_would_do_nothing_are_refused(setting):
    with pytest.raises(ValueError, match=f'{setting}=0 '):
        WordWeights(**{setting: 0})
