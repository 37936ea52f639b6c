"""The short form of the chaos run, on real trainings; docs/results.md has the long one."""

import sys

import pytest
import torch

from projects.mask_caption_sft.chaos.compare import differences
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from tests.workplace import ROOT, Workplace

TOOL = str(ROOT / 'tools' / 'chaos_run.py')


@pytest.mark.slow
def test_kills_and_a_cut_checkpoint_lose_nothing_and_one_other_value_would_be_seen(tmp_path):
    arguments = ['--updates', '8', '--kills', '2', '--only', 'kill', 'cut']
    output = Workplace(tmp_path).call(sys.executable, TOOL, '--work-dir', 'chaos', *arguments).stdout
    rows = [line.split(' | ') for line in output.splitlines() if line.startswith('| ')]
    assert [row[:3] + row[-1:] for row in rows[2:]] == [
        ['| SIGKILL at a random moment', '2', '2', 'yes |'],
        ['| newest checkpoint cut', '1', '1', 'yes |'],
    ]
    assert (tmp_path / 'chaos' / 'table.md').read_text() in output

    finals = sorted((tmp_path / 'chaos').glob('*/iter_16.pth'))
    assert len(finals) == 3
    assert differences(*finals[:2]) == []
    content = read_checkpoint(finals[0], mmap=False)
    number, state = next(iter(content['optimizer']['state'].items()))
    moment = state['exp_avg'].view(-1)
    moment[-1] = torch.nextafter(moment[-1], torch.tensor(9.0))
    torch.save(content, tmp_path / 'other.pth')
    assert differences(finals[1], tmp_path / 'other.pth') == [f'optimizer.state.{number}.exp_avg']


def test_a_work_dir_that_is_not_empty_and_too_few_updates_are_refused(tmp_path):
    place = Workplace(tmp_path)
    (tmp_path / 'used').mkdir()
    (tmp_path / 'used' / 'file').touch()
    refused = place.call(sys.executable, TOOL, '--work-dir', 'used', check=False)
    assert refused.returncode == 2
    assert '--work-dir used is not empty' in refused.stderr
    refused = place.call(sys.executable, TOOL, '--work-dir', 'new', '--updates', '8', check=False)
    assert refused.returncode == 2
    assert 'give 16 or more' in refused.stderr
