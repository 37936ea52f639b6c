"""Of K captions the best is taught."""

import pytest
import torch

from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.losses import caption_loss
from projects.mask_caption_sft.sa2va.questions import Questions
from tests.miniature import miniature_batch, miniature_model, objectives
from tests.scripted_loop import scripted

WITHOUT_TEXT = [None, None]


def selecting(num_captions: int = 2, **settings):
    return miniature_model(
        num_captions=num_captions, objectives=dict(best=BestOfK(weight=1.0, **settings))
    ).eval()


def caption_losses(model, batch, texts: list[str]) -> torch.Tensor:
    views1, _ = model.student.look(batch)
    answers = model.student.text.encode_answers(texts)
    scores = model.student.score(views1, answers)
    return caption_loss(scores.logits, scores.targets)


def test_the_best_caption_is_taught_where_it_beats_the_greedy_one_and_is_good_enough():
    model, batch = selecting(margin_iou=0.1, min_iou=0.5), miniature_batch([None], [None], [None])
    #            greedy:   0.75    0.125   0.75;   sampled: 0.8 (no margin), 0.25 (too bad), 1.0 (taught)
    scripted(model, ['a', 'b', 'c', 'red', 'blue', 'star'], [0.75, 0.125, 0.75, 0.8, 0.25, 1.0])
    losses = model.loss(batch)
    expected = caption_losses(model, batch, ['red', 'blue', 'star'])[2] / 3  # of three described regions
    assert losses['loss_best'].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses['signal/taught_ratio'].item() == pytest.approx(1 / 3)


def test_one_lucky_caption_weighs_as_one_of_all_described_regions():
    one = selecting(margin_iou=0.1, min_iou=0.5)
    scripted(one, ['a', 'star'], [0.5, 1.0])
    alone = one.loss(miniature_batch([None]))['loss_best']
    four = selecting(margin_iou=0.1, min_iou=0.5)
    scripted(four, ['a'] * 4 + ['star', 'b', 'b', 'b'], [0.5] * 4 + [1.0, 0.0, 0.0, 0.0])
    among = four.loss(miniature_batch([None], [None], [None], [None]))['loss_best']
    assert among.item() == pytest.approx(alone.item() / 4, rel=1e-4)


def test_an_empty_caption_is_never_taught_and_is_named_in_the_log():
    model, batch = selecting(3, margin_iou=0.1, min_iou=0.1), miniature_batch([None])
    scripted(model, ['a', '', 'star'], [0.25, 1.0, 0.5])
    losses = model.loss(batch)
    assert losses['loss_best'].item() == pytest.approx(
        caption_losses(model, batch, ['star']).item(), rel=1e-5
    )
    assert losses['signal/empty_best_ratio'] == 1
    only_empty = selecting(2, margin_iou=0.1, min_iou=0.1)
    scripted(only_empty, ['a', ''], [0.25, 1.0])
    assert only_empty.loss(batch)['loss_best'] == 0


def test_a_caption_that_was_cut_is_taught_without_an_end(monkeypatch):
    model, batch = selecting(2, margin_iou=0.1, min_iou=0.1), miniature_batch([None])
    scripted(model, ['a', 'star'], [0.25, 1.0])
    words = model.student.text.encode('star')
    greedy = model.student.text.encode_answers(['a'])
    model.student.describe = lambda *args: greedy.cat(model.student.text.captions([words], len(words)))
    taught = []
    score = Questions.score
    monkeypatch.setattr(
        Questions,
        'score',
        lambda asked, views, captions: taught.append(captions) or score(asked, views, captions),
    )
    model.loss(batch)
    assert taught[0].ids[taught[0].mask].tolist() == words


def test_equal_captions_of_a_region_are_segmented_once():
    model = selecting(3)
    scripted(model, ['a', 'b', 'a', 'b', 'star', 'b'], [0.5, 0.5, 1.0])  # three distinct pairs of six
    losses = model.loss(miniature_batch([None], [None]))
    assert losses['signal/taught_ratio'] == 0.5


def test_without_an_objective_that_compares_captions_only_the_greedy_one_is_written():
    model = miniature_model(num_captions=4)
    asked = []
    write = model.student.describe
    model.student.describe = lambda views, *args: asked.append(args[1]) or write(views, *args)
    model.loss(miniature_batch(WITHOUT_TEXT))
    model.objectives['best'] = BestOfK()
    model.loss(miniature_batch(WITHOUT_TEXT))
    assert asked == [1, 4]


def test_a_pixel_that_is_not_finite_ends_in_the_loss_and_not_in_the_draw_of_captions():
    """``multinomial`` raised, which ended the run; the guard refuses an update by its loss."""
    model, batch = miniature_model(num_captions=2, objectives=objectives(best=BestOfK())), miniature_batch()
    batch.pixel_values[0] = torch.nan
    total, _ = model.parse_losses(model.loss(batch))
    assert not torch.isfinite(total)
