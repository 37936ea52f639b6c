"""Words that help are taught, and words that mislead are unlearned."""

from functools import partial

import pytest
import torch

from projects.mask_caption_sft.loop.caption_weights import AdvantageWeights
from projects.mask_caption_sft.loop.objectives import BestOfK, WeightedCaptions
from projects.mask_caption_sft.loop.word_credit import WordCredit, WordWeights
from projects.mask_caption_sft.losses import LossTable, token_losses
from tests.miniature import miniature_batch, miniature_model
from tests.scripted_loop import part_of


def hearing(model, needed: dict[str, float], misleading: dict[str, float] | None = None) -> None:
    """The teacher finds 1 of a region, less what each missing word costs, and each misleading one."""
    heard: list[str] = []
    embed = model.teacher.embed_captions
    segment = model.teacher.segment

    def remember(texts):
        heard[:] = texts
        return embed(texts)

    def segment_what_was_heard(views, embeds, prefix):
        result = segment(views, embeds, prefix)
        for row, text in enumerate(heard):
            said = text.split()
            lost = sum(cost for word, cost in needed.items() if word not in said)
            lost += sum(cost for word, cost in (misleading or {}).items() if word in said)
            result.mask_logits[row] = torch.where(part_of(views.masks[row], 1 - lost), 1.0, -1.0)
        return result

    model.teacher.embed_captions, model.teacher.segment = remember, segment_what_was_heard


def test_a_word_without_which_the_region_is_found_as_well_is_not_taught():
    best = BestOfK(weight=1.0, margin_iou=0.05, min_iou=0.5, credit=dict(min_drop=0.1))
    model, batch = miniature_model(num_captions=2, objectives=dict(best=best)).eval(), miniature_batch([None])
    written = model.student.text.encode_answers(['the circle', 'small red star'])
    model.student.describe = lambda *args: written
    hearing(model, {'red': 0.3, 'star': 0.5})
    found = model.loss(batch)
    assert found['signal/helping_ratio'].item() == pytest.approx(2 / 3)

    views1, _ = model.student.look(batch)
    scores = model.student.score(views1, model.student.text.encode_answers(['small red star']))
    chosen = scores.logits.log_softmax(-1).gather(-1, scores.targets[..., None])[0, :, 0]
    expected = -chosen[1:].mean()  # red, star, and the end of turn
    assert found['loss_best'].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_repeated_word_helps_nowhere():
    model, batch = miniature_model(num_captions=1), miniature_batch([None])
    hearing(model, {'red': 0.5})
    captions = model.student.text.encode_answers(['red red'])
    step = type('Step', (), {})()
    _, step.views2 = model.student.look(batch)
    step.segmenter, step.student, step.segmenter_prefix = model.teacher, model.student, None
    taught = WordCredit()(step, torch.tensor([0]), captions, torch.tensor([1.0]))
    assert taught[captions.in_caption].tolist() == [False, False]


def test_a_word_that_leads_away_is_unlearned_and_one_that_helps_is_taught():
    """Of "red orange" red is worth 0.3, and without orange 0.04 more is found."""
    even = dict(type=AdvantageWeights)  # of one caption said twice there is nothing to compare
    weighted = WeightedCaptions(even, weight=1.0, words=dict(weight=2.0, full_iou=0.1))
    model, batch = (
        miniature_model(num_captions=2, objectives=dict(w=weighted)).eval(),
        miniature_batch([None]),
    )
    written = model.student.text.encode_answers(['red orange', 'red orange'])
    model.student.describe = lambda *args: written
    hearing(model, {'red': 0.3}, misleading={'orange': 0.04})
    found = model.loss(batch)

    views1, _ = model.student.look(batch)
    scores = model.student.score(views1, model.student.text.encode_answers(['red orange']))
    red, orange, _ = token_losses(scores.logits, scores.targets)[0]  # and the end of turn, which weighs 0
    assert found['loss_weighted'].item() == pytest.approx((2.0 * red - 0.8 * orange).item() / 3, rel=0.05)
    assert found['signal/helping_ratio'].item() == found['signal/misleading_ratio'].item() == 0.5


def test_so_many_words_of_each_caption_are_left_out_by_chance():
    model, batch = miniature_model(num_captions=1), miniature_batch([None])
    hearing(model, {'red': 0.5, 'star': 0.5})
    captions = model.student.text.encode_answers(['red star', 'star'])
    step = type('Step', (), dict(table=LossTable(torch.zeros(()))))()
    _, step.views2 = model.student.look(batch)
    step.segmenter, step.student, step.segmenter_prefix = model.teacher, model.student, None
    seen = set()
    for _ in range(20):
        weights = WordWeights(weight=1.0, num_words=1)(
            step, torch.tensor([0, 0]), captions, torch.tensor([1.0, 0.5])
        )
        assert weights[1, :2].tolist() == [1.0, 0.0]
        seen.add(tuple(weights[0].tolist()))
    assert seen == {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)}


def test_of_two_words_that_tell_the_same_each_adds_half_where_they_join_some():
    """Shapley's value: either finds all of the region, and none half of it."""
    model, batch = miniature_model(num_captions=1), miniature_batch([None])
    hearing(model, {})
    segment = model.teacher.segment
    heard: list[str] = []
    embed = model.teacher.embed_captions
    model.teacher.embed_captions = lambda texts: (heard.__setitem__(slice(None), texts), embed(texts))[1]

    def segment_either(views, embeds, prefix):
        result = segment(views, embeds, prefix)
        for row, text in enumerate(heard):
            share = 1.0 if 'red' in text or 'star' in text else 0.5
            result.mask_logits[row] = torch.where(part_of(views.masks[row], share), 1.0, -1.0)
        return result

    model.teacher.segment = segment_either
    captions = model.student.text.encode_answers(['red star'])
    step = type('Step', (), dict(table=LossTable(torch.zeros(()))))()
    _, step.views2 = model.student.look(batch)
    step.segmenter, step.student, step.segmenter_prefix = model.teacher, model.student, None
    ask = partial(WordWeights, weight=1.0, full_iou=1.0)

    def mean(**settings):
        drawn = [ask(**settings)(step, torch.tensor([0]), captions, torch.tensor([1.0])) for _ in range(60)]
        return torch.cat(drawn).mean(0).tolist()

    assert mean(joins='all') == [0.0, 0.0, 0.0]
    red, star, end = mean(joins='some')
    assert red + star == pytest.approx(0.5, abs=0.05)  # all that the two add to none
    assert red == pytest.approx(0.25, abs=0.1)
    assert end == 0


@pytest.mark.parametrize('setting', ['full_iou', 'num_words', 'joins'])
def test_settings_that_would_do_nothing_are_refused(setting):
    with pytest.raises(ValueError, match=f'{setting}=0 is|{setting}=0 tries'):
        WordWeights(**{setting: 0})
