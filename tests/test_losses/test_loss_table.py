"""Averages over items, with numbers worked by hand."""

import pytest
import torch

from projects.mask_caption_sft.losses import LossTable


@pytest.fixture
def weight():
    return torch.ones(1, requires_grad=True)


@pytest.fixture
def table(weight):
    return LossTable(graph=weight.sum() * 0.0)


def test_losses_of_one_name_are_averaged_over_all_their_items(table, weight):
    table.add('loss_a', weight * torch.tensor([1.0, 2.0]), weight=0.5)
    table.add('loss_a', weight * torch.tensor([9.0]), weight=0.5)
    averages = table.averages()
    assert averages['loss_a'].item() == pytest.approx(0.5 * (1 + 2 + 9) / 3)
    averages['loss_a'].backward()
    assert weight.grad.item() == pytest.approx(2.0)


def test_items_without_a_loss_count_where_that_is_said(table, weight):
    table.add('loss_a', weight * torch.tensor([8.0]), weight=1.0, count=4)
    assert table.averages()['loss_a'].item() == pytest.approx(2.0)


def test_a_loss_without_items_is_left_out_and_the_graph_stays(table, weight):
    table.add('loss_a', weight * torch.zeros(0), weight=1.0)
    table.log('signal/a', torch.zeros(0))
    assert table.averages().keys() == {'graph'}
    table.averages()['graph'].backward()
    assert weight.grad.item() == 0.0


def test_a_weight_of_zero_switches_a_loss_off(table, weight):
    table.add('loss_a', weight * 3, weight=0.0)
    assert table.averages().keys() == {'graph'}


def test_values_are_logged_by_dataset_as_the_mean_of_their_items(table):
    table.log_by_dataset('iou', torch.tensor([0.0, 0.5, 1.0]), ['sav', 'sa1b', 'sav'])
    table.log('signal/a', torch.tensor([True, False]))
    averages = table.averages()
    assert {name: value.item() for name, value in averages.items() if name != 'graph'} == {
        'sa1b/iou': 0.5, 'sav/iou': 0.5, 'signal/a': 0.5,
    }  # fmt: skip
