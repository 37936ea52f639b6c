"""Losses between mask logits and masks."""

import pytest
import torch
import torch.nn.functional as F

from projects.mask_caption_sft.losses import (
    dice_loss,
    iou_loss,
    mask_bce_loss,
    sample_points,
)

MASK = torch.tensor([[[1, 0], [0, 0]]]).bool()
LOSSES = [iou_loss, dice_loss, mask_bce_loss]


@pytest.mark.parametrize('loss', LOSSES)
def test_a_perfect_mask_costs_nothing(loss):
    logits = torch.where(MASK, 50.0, -50.0)
    torch.testing.assert_close(loss(logits, MASK), torch.zeros(1))


def test_iou_by_hand():
    # p = 0.5 everywhere, g has one pixel: overlap 0.5, union 2 + 1 - 0.5; with + 1: 1.5 / 3.5
    torch.testing.assert_close(iou_loss(torch.zeros(1, 2, 2), MASK), torch.tensor([1 - 1.5 / 3.5]))


def test_dice_by_hand():
    # (2 * 0.5 + 1) / (2 + 1 + 1) = 0.5
    torch.testing.assert_close(dice_loss(torch.zeros(1, 2, 2), MASK), torch.tensor([0.5]))


def test_cross_entropy_by_hand_and_by_the_library():
    torch.testing.assert_close(mask_bce_loss(torch.zeros(1, 2, 2), MASK), torch.tensor([0.6931472]))
    logits, masks = torch.randn(3, 4, 5), torch.rand(3, 4, 5) > 0.5
    expected = F.binary_cross_entropy_with_logits(logits, masks.float())
    torch.testing.assert_close(mask_bce_loss(logits, masks).mean(), expected)


@pytest.mark.parametrize('loss', LOSSES)
def test_an_empty_mask_is_finite_and_lower_for_an_emptier_prediction(loss):
    empty = torch.zeros(1, 8, 8).bool()
    full, half = loss(torch.full((1, 8, 8), 5.0), empty), loss(torch.zeros(1, 8, 8), empty)
    assert torch.isfinite(full).all()
    assert half < full


@pytest.mark.parametrize('loss', LOSSES)
def test_no_mask_gives_no_value_but_a_graph(loss):
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    loss(logits, torch.zeros(0, 4, 4)).sum().backward()
    assert logits.grad is not None


@pytest.mark.parametrize('loss', LOSSES)
def test_every_pixel_gets_a_gradient(loss):
    logits = torch.randn(2, 4, 4, requires_grad=True)
    loss(logits, torch.rand(2, 4, 4) > 0.5).sum().backward()
    assert (logits.grad != 0).all()


@pytest.mark.parametrize('loss', LOSSES)
def test_the_gradient_agrees_with_finite_differences(loss):
    logits = torch.randn(1, 3, 3, dtype=torch.double, requires_grad=True)
    mask = torch.rand(1, 3, 3) > 0.5
    assert torch.autograd.gradcheck(lambda x: loss(x, mask), (logits,), eps=1e-3, atol=2e-3)


@pytest.mark.parametrize('loss', LOSSES)
def test_another_shape_names_the_mend(loss):
    with pytest.raises(ValueError, match='resize_masks'):
        loss(torch.zeros(1, 4, 4), torch.zeros(1, 2, 2))


def test_sampled_points_gather_where_the_prediction_is_uncertain():
    torch.manual_seed(0)
    logits = torch.full((1, 32, 32), 10.0)
    logits[:, :, :4] = 0.0  # an eighth of the image is undecided
    sampled, _ = sample_points(logits, torch.zeros(1, 32, 32), num_points=400)
    uncertain = (sampled.abs() < 5).float().mean()
    # 3 x 400 candidates hold about 150 undecided ones, all kept; 100 uniform points add about 12.
    assert 0.3 < uncertain < 0.5


def test_sampled_points_pass_the_gradient_on():
    logits = torch.zeros(1, 8, 8, requires_grad=True)
    sample_points(logits, torch.ones(1, 8, 8), num_points=64)[0].sum().backward()
    assert logits.grad.sum().item() == pytest.approx(64, rel=0.3)
