"""A run starts from a whole checkpoint, anew, or not at all; it never starts over what another has made."""

import os
import shutil

import pytest
import torch

from projects.mask_caption_sft.chaos.damage import OF_THE_FILE, cut, flipped, missing
from projects.mask_caption_sft.checkpoints.integrity import check_whole
from projects.mask_caption_sft.engine.start_plan import StartRefusedError, plan_start
from tests.small_run import small_run


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A run of six updates that kept three checkpoints."""
    folder = tmp_path_factory.mktemp('finished') / 'run'
    small_run(folder, 6, checkpoint=dict(max_keep_ckpts=3))
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may damage, in another place than where it was made."""
    return shutil.copytree(finished, tmp_path / 'moved')


def plan(folder, resume=True, source=None, start_over=False):
    return plan_start(folder, resume, source and str(source), start_over, '2026_01_01')


@pytest.mark.parametrize('damage', OF_THE_FILE)
@pytest.mark.parametrize('pointer', ['kept', 'empty', 'gone'])
def test_a_damaged_newest_checkpoint_is_passed_over_whatever_the_pointer_says(run, damage, pointer):
    damage(run / 'iter_6.pth')
    if pointer != 'kept':
        (run / 'last_checkpoint').write_text('')
    if pointer == 'gone':
        (run / 'last_checkpoint').unlink()
    start = plan(run)
    assert start.checkpoint == str(run / 'iter_5.pth')
    if damage is not missing:
        assert f'{run}/iter_6.pth' in start.notes[0]
        assert 'Trying the one before' in start.notes[0]
        assert (run / 'set_aside_2026_01_01' / 'iter_6.pth').is_file()  # later resumes do not meet it


def test_one_flipped_bit_of_a_weight_is_seen_although_torch_loads_it(run):
    path = run / 'iter_6.pth'
    check_whole(path)
    before = torch.load(path, weights_only=True)['state_dict']['student.weight']
    flipped(path)
    assert torch.load(path, weights_only=True)['state_dict']['student.weight'] != before
    with pytest.raises(ValueError, match=r'is damaged \(the checksum of archive/data/\d+ is wrong\)'):
        check_whole(path)


def test_with_no_whole_checkpoint_a_resume_is_refused_with_what_was_tried(run):
    for path in run.glob('iter_*.pth'):
        cut(path)
    with pytest.raises(StartRefusedError, match=r'no whole checkpoint to resume \(.*iter_6.*iter_5.*iter_4'):
        plan(run)


def test_a_mistyped_folder_is_no_new_run(tmp_path):
    with pytest.raises(StartRefusedError, match=r'holds no whole checkpoint to resume\. Is the path right\?'):
        plan(tmp_path)


def test_a_folder_may_be_given_instead_of_a_file(run, tmp_path):
    assert plan(run, source=run).checkpoint == str(run / 'iter_6.pth')
    other = tmp_path / 'other'
    other.mkdir()
    assert plan(other, source=run).checkpoint == str(run / 'iter_6.pth')


def test_a_new_run_over_old_checkpoints_is_refused_without_the_flag(run):
    with pytest.raises(StartRefusedError, match=r'already holds iter_6\.pth\. Go on from it with --resume'):
        plan(run, resume=False)
    start = plan(run, resume=False, start_over=True)
    assert start.checkpoint is None
    assert not list(run.glob('*.pth'))
    assert len(list((run / 'set_aside_2026_01_01').glob('iter_*.pth'))) == 3


def test_going_back_to_an_older_one_moves_the_newer_aside(run):
    start = plan(run, source=run / 'iter_4.pth')
    assert start.checkpoint == str(run / 'iter_4.pth')
    assert sorted(p.name for p in run.glob('iter_*.pth')) == ['iter_4.pth']


def test_a_damaged_file_that_was_asked_for_is_not_replaced_by_another(run):
    cut(run / 'iter_5.pth')
    with pytest.raises(StartRefusedError, match=r'iter_5\.pth is damaged .* beside it: iter_6\.pth, iter_5'):
        plan(run, source=run / 'iter_5.pth')


#: What a launcher tells its processes, and what it tells those that it starts again.
LAUNCHERS = {
    'torchrun': (dict(TORCHELASTIC_RESTART_COUNT='0'), dict(TORCHELASTIC_RESTART_COUNT='1')),
    'Slurm': (dict(SLURM_JOB_ID='7'), dict(SLURM_JOB_ID='7', SLURM_RESTART_COUNT='1')),
}


@pytest.fixture(params=LAUNCHERS)
def start_by_launcher(request, monkeypatch):
    """Plans as in a process that a launcher has started, or has started again."""

    def start(folder, again, by_another=False, **asked):
        for name, value in LAUNCHERS[request.param][again].items():
            monkeypatch.setenv(name, value)
        if by_another:
            monkeypatch.setattr(os, 'getppid', os.getpid)
            monkeypatch.setenv('SLURM_JOB_ID', '8')
        return plan(folder, **asked)

    return start


def test_a_run_that_its_launcher_starts_again_goes_on_by_itself(run, tmp_path, start_by_launcher):
    start_by_launcher(run, again=False)
    assert start_by_launcher(run, again=True, resume=False).checkpoint == str(run / 'iter_6.pth')
    assert start_by_launcher(run, again=True, resume=False, start_over=True).checkpoint == str(
        run / 'iter_6.pth'
    )
    (new := tmp_path / 'new').mkdir()
    assert start_by_launcher(new, again=True, resume=False).checkpoint is None


def test_a_first_start_that_crashed_early_does_not_make_an_older_run_its_own(run, start_by_launcher):
    """Its launcher starts it again, and in the work dir are the checkpoints of another."""
    with pytest.raises(StartRefusedError, match=r'already holds iter_6\.pth\. Go on from it with --resume'):
        start_by_launcher(run, again=True, resume=False)
    assert start_by_launcher(run, again=True, resume=False, start_over=True).checkpoint is None


def test_nor_does_a_run_of_another_launcher(run, start_by_launcher):
    start_by_launcher(run, again=False)
    with pytest.raises(StartRefusedError, match='already holds'):
        start_by_launcher(run, again=True, by_another=True, resume=False)


def test_nor_does_a_run_that_was_started_by_hand_since(run, start_by_launcher, monkeypatch):
    start_by_launcher(run, again=False)
    for name in ('TORCHELASTIC_RESTART_COUNT', 'SLURM_JOB_ID'):
        monkeypatch.delenv(name, raising=False)
    plan(run)
    with pytest.raises(StartRefusedError, match='already holds'):
        start_by_launcher(run, again=True, resume=False)


def test_a_damaged_run_goes_on_to_the_same_weights(finished, run):
    """The run of six updates, resumed from its fifth because the sixth was cut."""
    cut(run / 'iter_6.pth')
    resumed, _ = small_run(run, 6, resume=True)
    whole = torch.load(finished / 'iter_6.pth', weights_only=True)['state_dict']
    assert all(torch.equal(whole[name], tensor) for name, tensor in resumed.model.state_dict().items())


def test_the_pointer_is_a_name_below_the_work_dir(finished):
    assert (finished / 'last_checkpoint').read_text() == 'iter_6.pth'
    assert not os.path.isabs((finished / 'last_checkpoint').read_text())
