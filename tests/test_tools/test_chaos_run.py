"""The short form of the chaos run, on real trainings; docs/results.md has the long one."""

import sys

import chaos_run
import pytest
import torch

from projects.mask_caption_sft.chaos.compare import differences
from projects.mask_caption_sft.chaos.outcome import Outcome
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from tests.workplace import ROOT, Workplace

TOOL = str(ROOT / 'tools' / 'chaos_run.py')


@pytest.mark.slow
def test_kills_and_a_cut_checkpoint_lose_nothing_and_one_other_value_would_be_seen(tmp_path):
    arguments = ['--updates', '8', '--kills', '2', '--only', 'kill', 'cut']
    output = Workplace(tmp_path).call(sys.executable, TOOL, '--work-dir', 'chaos', *arguments).stdout
    rows = [line.split(' | ') for line in output.splitlines() if line.startswith('| ')]
    assert [row[:3] + row[-1:] for row in rows[1:]] == [
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


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['--work-dir', 'used'], '--work-dir used is not empty'),
        (['--work-dir', 'new', '--updates', '8'], 'give 16 or more'),
        (['--work-dir', 'new', '--updates', '10', '--only', 'cut'], 'no multiple of 4: give 8 or more'),
        (['--work-dir', 'new', '--only', 'thunder'], "invalid choice: 'thunder'"),
    ],
)
def test_a_used_work_dir_too_few_updates_and_unknown_faults_are_refused(
    tmp_path, monkeypatch, capsys, arguments, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'used').mkdir()
    (tmp_path / 'used' / 'file').touch()
    monkeypatch.setattr(sys, 'argv', ['chaos_run.py', *arguments])
    with pytest.raises(SystemExit):
        chaos_run.parse_args()
    assert reason in capsys.readouterr().err


def test_one_lost_run_makes_the_tool_end_with_1(tmp_path, monkeypatch, capsys):
    """Faults that ended well, badly, and with an error: all are in the table."""

    def raises(campaign):
        raise RuntimeError('it hung')

    faults = {
        'kill': lambda campaign: [Outcome('SIGKILL', 1, 1, 0, 2, True)],
        'cut': lambda campaign: [Outcome('cut', 1, 1, 0, 2, False)],
        'empty': raises,
    }
    monkeypatch.setattr(chaos_run, 'FAULTS', faults)
    monkeypatch.setattr(chaos_run, 'leave_out_ceremony', lambda: None)
    for number, (only, code) in enumerate([(['kill'], None), (['kill', 'cut'], 1), (['empty', 'kill'], 1)]):
        work_dir = str(tmp_path / str(number))
        monkeypatch.setattr(
            sys, 'argv', ['chaos_run.py', '--work-dir', work_dir, '--updates', '8', '--only', *only]
        )
        if code is None:
            chaos_run.main()
        else:
            with pytest.raises(SystemExit) as ended:
                chaos_run.main()
            assert ended.value.code == code
        assert '| SIGKILL | 1 | 1 | 0 | yes |' in capsys.readouterr().out
    assert '- empty: RuntimeError: it hung' in (tmp_path / '2' / 'table.md').read_text()
