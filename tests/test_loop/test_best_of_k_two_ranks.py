"""The best captions of two processes weigh as those of one process with all regions."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.loop.objectives import BestOfK
from tests.miniature import miniature_model, miniature_sample
from tests.scripted_loop import scripted
from tests.two_ranks import run_two_ranks

#: For each rank its regions: the IoU from the greedy caption, and from another one. What gains 0.1 is taught.
CASES = {
    'two of three, one of two': [[(0.5, 1.0), (0.5, 0.75), (0.75, 0.5)], [(0.5, 1.0), (0.75, 0.5)]],
    'one of three, none of two': [[(0.5, 0.5), (0.5, 1.0), (0.75, 0.5)], [(0.75, 0.5), (0.5, 0.5)]],
    'one of one, nothing described': [[(0.5, 1.0)], []],
}
#: Of each region, so that it is taught another caption than its neighbours.
WORDS = [('a', 'the red star'), ('b', 'circle'), ('c', 'the small blue square'), ('d', 'left'), ('e', 'top')]


def outcome(case: str, ranks: tuple[int, ...], wrap) -> dict[str, object]:
    """Losses and gradients of the regions of these ranks, in one batch."""
    samples, words, ious = [], [], []
    starts = [0, len(CASES[case][0])]
    for rank in ranks:
        regions = CASES[case][rank]
        texts = [None] * len(regions) or ['the red circle']  # which is not described
        samples.append(miniature_sample(f'rank{rank}', texts, seed=rank))
        words += WORDS[starts[rank] : starts[rank] + len(regions)]
        ious += regions
    objective = BestOfK(weight=5.0, margin_iou=0.1, min_iou=0.5)
    model = miniature_model(num_captions=2, objectives=dict(best=objective)).eval()
    scripted(model, [text for column in zip(*words) for text in column], sum(zip(*ious), ()))
    module = wrap(model)  # DDP has to be there until backward has run
    losses = module(collate_regions(samples)['batch'], mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    found = {name: p.grad for name, p in model.student.named_parameters() if p.grad is not None}
    return dict(gradients=found, logged=logged)


def work(rank: int, folder: str) -> None:
    for number, case in enumerate(CASES):
        found = outcome(
            case, (rank,), lambda model: DistributedDataParallel(model, find_unused_parameters=True)
        )
        torch.save(found, os.path.join(folder, f'{number}_rank{rank}.pt'))


@pytest.fixture(scope='module')
def ranks(tmp_path_factory) -> Path:
    """The folder with what both ranks found in each case."""
    folder = tmp_path_factory.mktemp('ranks')
    run_two_ranks(work, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_loss_and_gradient_over_two_ranks_are_those_of_the_joint_batch(case, ranks):
    number = list(CASES).index(case)
    found = [torch.load(ranks / f'{number}_rank{rank}.pt') for rank in (0, 1)]
    expected = outcome(case, (0, 1), lambda model: model)
    loss = expected['logged']['loss_best']
    assert loss > 0.1
    for rank in found:
        for name in ('loss_best', 'loss', 'signal/taught_ratio'):
            torch.testing.assert_close(rank['logged'][name], expected['logged'][name], rtol=1e-4, atol=1e-6)
    learning = [name for name, gradient in expected['gradients'].items() if gradient.any()]
    assert any('lora_B' in name for name in learning)
    for name in learning:
        for rank in found:
            torch.testing.assert_close(
                rank['gradients'][name], expected['gradients'][name], rtol=1e-3, atol=3e-6, msg=name
            )
