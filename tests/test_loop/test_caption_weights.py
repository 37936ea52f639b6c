"""What a caption is worth, and how strongly it is taught, by hand."""

import math

import pytest
import torch

from projects.mask_caption_sft.loop.candidates import iou_with_others, iou_with_own
from projects.mask_caption_sft.loop.caption_weights import (
    AdvantageWeights,
    MinimumRiskWeights,
    SoftmaxWeights,
)
from projects.mask_caption_sft.loop.objectives import BestOfK, WeightedCaptions
from projects.mask_caption_sft.loop.reward import Reward
from projects.mask_caption_sft.sa2va.questions import Questions
from projects.mask_caption_sft.structures import RegionViews
from tests.miniature import miniature_batch, miniature_model
from tests.scripted_loop import scripted

LOG_PROBS = torch.zeros(2, 1)
ALL_FIRST = torch.ones(2, 1, dtype=torch.bool)


def test_softmax_weights_by_hand():
    weights = SoftmaxWeights(temperature=0.5)(torch.tensor([[0.5], [1.0]]), LOG_PROBS, ALL_FIRST)
    assert weights[:, 0].tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])


def test_advantages_by_hand():
    rewards = torch.tensor([[0.2], [0.6]])
    assert AdvantageWeights()(rewards, LOG_PROBS, ALL_FIRST)[:, 0].tolist() == pytest.approx([-0.1, 0.1])
    normalized = AdvantageWeights(normalize=True)(rewards, LOG_PROBS, ALL_FIRST)[:, 0].tolist()
    assert normalized == pytest.approx([-0.5, 0.5], rel=1e-3)  # a standard deviation of 0.2, over K = 2


def test_minimum_risk_is_the_gradient_of_the_expected_reward():
    log_probs = torch.tensor([[-1.0], [-3.0], [-0.5]], requires_grad=True)
    rewards = torch.tensor([[0.1], [0.9], [0.4]])
    expected = ((0.3 * log_probs).softmax(0) * rewards).sum()
    (gradient,) = torch.autograd.grad(expected, log_probs)
    weights = MinimumRiskWeights(sharpness=0.3)(rewards, log_probs.detach(), torch.ones(3, 1).bool())
    assert torch.allclose(weights, gradient, atol=1e-6)


def test_equal_captions_count_once_in_the_expected_reward():
    is_first = torch.tensor([[True], [True], [False]])
    log_probs, rewards = torch.tensor([[-1.0], [-3.0], [-1.0]]), torch.tensor([[0.1], [0.9], [0.1]])
    weights = MinimumRiskWeights()(rewards, log_probs, is_first)
    alone = MinimumRiskWeights()(rewards[:2], log_probs[:2], is_first[:2])
    assert weights[:2].tolist() == alone.tolist()
    assert weights[2] == 0


def weighted(num_captions: int, **settings):
    objective = WeightedCaptions(weight=1.0, **settings)
    return miniature_model(num_captions=num_captions, objectives=dict(weighted=objective)).eval()


def nll(model, batch, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of one caption of each region, and its number of tokens."""
    views1, _ = model.student.look(batch)
    scores = model.student.score(views1, model.student.text.encode_answers(texts))
    chosen = scores.targets.clamp(min=0)[..., None]
    losses = -scores.logits.log_softmax(-1).gather(-1, chosen)[..., 0] * (scores.targets >= 0)
    return losses.sum(1), (scores.targets >= 0).sum(1)


@pytest.mark.parametrize('by_token', [True, False])
def test_the_loss_is_the_weighted_sum_over_captions_by_hand(by_token):
    model = weighted(3, weighting=AdvantageWeights(), by_token=by_token)
    batch = miniature_batch([None])
    scripted(model, ['a', 'star', 'a'], [0.25, 1.0])  # rewards 0.25, 1, 0.25 with the mean 0.5
    loss = model.loss(batch)['loss_weighted'].item()
    (a,), (a_len,) = nll(model, batch, ['a'])
    (star,), (star_len,) = nll(model, batch, ['star'])
    if by_token:
        a, star = a / a_len, star / star_len
    assert loss == pytest.approx(((-0.25 * 2 * a + 0.5 * star) / 3).item(), rel=1e-4)


def test_an_empty_caption_is_not_taught():
    model = weighted(2, weighting=SoftmaxWeights())
    scripted(model, ['', ''], [1.0])
    assert model.loss(miniature_batch([None]))['loss_weighted'] == 0


def test_a_confuser_and_a_long_text_cost_reward():
    model, batch = miniature_model(num_captions=2), miniature_batch([None], [None])
    batch.image_index2[:] = 0  # both regions in one image
    step = type('Step', (), {})()
    step.candidate_iou, step.confuser_iou = torch.tensor([[0.8, 0.5]]), torch.tensor([[0.4, 0.0]])
    step.candidates = model.student.text.encode_answers(['a', 'star'])
    lengths = step.candidates.in_caption.sum(1).tolist()
    found = Reward(confuser_weight=0.5, token_cost=0.1)(step)
    assert found[0].tolist() == pytest.approx([0.6 - 0.1 * lengths[0], 0.5 - 0.1 * lengths[1]])


def test_selection_by_another_reward_selects_another_caption():
    batch = miniature_batch([None])
    plain = miniature_model(num_captions=3, objectives=dict(best=BestOfK(margin_iou=0.1, min_iou=0.1))).eval()
    costly = BestOfK(margin_iou=0.1, min_iou=0.1, reward=dict(token_cost=0.2))
    short = miniature_model(num_captions=3, objectives=dict(best=costly)).eval()
    for model in (plain, short):
        scripted(model, ['a', 'red star red star', 'b'], [0.25, 0.9, 0.8])
    assert plain.loss(batch)['signal/best_iou_gain'].item() == pytest.approx(0.65, abs=0.02)
    assert short.loss(batch)['signal/best_iou_gain'].item() == pytest.approx(0.55, abs=0.02)


def test_a_region_whose_captions_are_alike_is_not_scored(monkeypatch):
    model = weighted(2, weighting=AdvantageWeights(), min_spread=0.3)
    batch = miniature_batch([None], [None])
    scripted(model, ['a', 'a', 'star', 'star'], [0.5, 0.25, 0.7, 1.0])  # spreads of 0.2 and 0.75
    scored, score = [], Questions.score
    monkeypatch.setattr(
        Questions,
        'score',
        lambda asked, views, captions: scored.append(len(captions)) or score(asked, views, captions),
    )
    losses = model.loss(batch)
    assert losses['signal/taught_ratio'] == 0.5
    assert scored == [2]
    alone = weighted(2, weighting=AdvantageWeights())
    other = miniature_batch([None], [None])
    scripted(alone, ['a', 'a', 'star', 'star'], [0.5, 0.25, 0.5, 1.0])
    assert losses['loss_weighted'].item() == pytest.approx(
        alone.loss(other)['loss_weighted'].item(), rel=1e-4
    )


def test_what_a_mask_overlaps_by_hand():
    """Three regions, two in one image: masks are compared with their own, and with the other of the image."""
    masks = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 1, 1]], [[1, 1, 1, 1]]]).bool()
    views = RegionViews(None, torch.tensor([0, 0, 1]), masks=masks)
    found = torch.tensor([[[[1, 0, 0, 0]], [[0, 1, 1, 1]], [[1, 1, 0, 0]]]]).bool()
    assert iou_with_own(found, views)[0].tolist() == pytest.approx([1 / 2, 2 / 3, 1 / 2])
    assert iou_with_others(found, views)[0].tolist() == pytest.approx([0, 1 / 4, 0])
