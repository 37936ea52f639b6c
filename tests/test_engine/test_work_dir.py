"""A work dir belongs to one run, and what a killed one has left is cleared away."""

import subprocess
import sys

import pytest

from projects.mask_caption_sft.engine.start_plan import StartRefusedError
from projects.mask_caption_sft.engine.work_dir import (
    WorkDirTakenError,
    lock_work_dir,
    remove_leftovers,
    set_aside,
)
from tests.small_run import small_run

HOLDER = """
import sys
from projects.mask_caption_sft.engine.work_dir import lock_work_dir
file = lock_work_dir(sys.argv[1])
print('held', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path / 'run'``."""
    (tmp_path / 'run').mkdir()
    command = [sys.executable, '-c', HOLDER, str(tmp_path / 'run')]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'held\n'
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_refused_with_the_name_of_the_first(holder, tmp_path):
    with pytest.raises(
        WorkDirTakenError, match=rf'in use by process {holder.pid} of \w+ on .*another --work-dir'
    ):
        lock_work_dir(tmp_path / 'run')
    with pytest.raises(StartRefusedError, match=f'in use by process {holder.pid}'):
        small_run(tmp_path / 'run', 2)
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_a_killed_run_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    file = lock_work_dir(tmp_path / 'run')
    assert file is not None
    assert f'process {holder.pid}' not in (tmp_path / 'run' / '.lock').read_text()


def test_what_interrupted_saves_left_is_removed_and_nothing_else(tmp_path):
    small_run(tmp_path / 'run', 2)
    left = ['.iter_3.pth.4711.tmp', '.last_checkpoint.4711.tmp']
    others = ['.hidden', 'mine.tmp', '.notes.tmp']
    for name in [*left, *others]:
        (tmp_path / 'run' / name).write_text('')
    assert sorted(remove_leftovers(tmp_path / 'run')) == left
    (tmp_path / 'run' / left[0]).write_text('')
    small_run(tmp_path / 'run', 3, resume=True)
    names = {path.name for path in (tmp_path / 'run').iterdir()}
    assert set(others) <= names
    assert not names & set(left)


def test_files_are_moved_aside_not_deleted(tmp_path):
    (tmp_path / 'a.pth').write_text('a')
    folder = set_aside(tmp_path, [tmp_path / 'a.pth'], '20260101_120000')
    assert (folder / 'a.pth').read_text() == 'a'
    assert folder.name == 'set_aside_20260101_120000'
