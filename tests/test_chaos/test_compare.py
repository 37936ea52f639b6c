"""One bit of one tensor is a difference, whatever the tensor is of."""

import pytest
import torch

from projects.mask_caption_sft.chaos.compare import differences, is_same
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from tests.small_run import small_run


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('saved') / 'run'
    small_run(folder, 2)
    return folder / 'iter_2.pth'


def next_number(tensor):
    """The smallest possible change of its first value."""
    tensor.view(-1)[0] = torch.nextafter(tensor.view(-1)[0], torch.tensor(9.0))


def test_a_file_is_as_itself_and_as_the_same_run_in_another_folder(saved, tmp_path):
    assert differences(saved, saved) == []
    small_run(tmp_path / 'run', 2)
    assert differences(saved, tmp_path / 'run' / 'iter_2.pth') == []


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        (lambda c: next_number(c['state_dict']['student.weight']), 'state_dict.student.weight'),
        (lambda c: next_number(c['state_dict']['teacher.bias']), 'state_dict.teacher.bias'),
        (lambda c: next_number(c['optimizer']['state'][0]['exp_avg_sq']), 'optimizer.state.0.exp_avg_sq'),
        (lambda c: c['optimizer']['state'][1]['step'].add_(1), 'optimizer.state.1.step'),
        (lambda c: c['optimizer']['param_groups'][0].update(lr=0.5), 'optimizer.param_groups.0.lr'),
        (lambda c: c['state_dict'].pop('teacher.bias'), 'state_dict.teacher.bias'),
        (lambda c: c['meta']['draws'].update(done=7), 'draws'),
    ],
)
def test_the_one_thing_that_differs_is_named_from_either_side(saved, tmp_path, change, name):
    content = read_checkpoint(saved, mmap=False)
    change(content)
    torch.save(content, tmp_path / 'changed.pth')
    assert differences(saved, tmp_path / 'changed.pth') == [name]
    assert differences(tmp_path / 'changed.pth', saved) == [name]


def test_what_equal_would_not_tell_apart_or_not_find_equal():
    assert not is_same(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert is_same(torch.tensor([torch.nan]), torch.tensor([torch.nan]))
    assert not is_same(torch.ones(2), torch.ones(2, dtype=torch.float64))
    assert not is_same(torch.ones(2, 1), torch.ones(2))
    assert is_same(torch.tensor(3), torch.tensor(3))
    assert not is_same(1, 1.0)
    assert not is_same(torch.tensor(1.0), 1.0)
