"""Every step that a save makes is seen, in its order, and a process can be ended in any of them."""

import multiprocessing
import os
import signal

from projects.mask_caption_sft.chaos.save_steps import SaveSteps
from projects.mask_caption_sft.checkpoints.integrity import resumable
from projects.mask_caption_sft.engine.work_dir import remove_leftovers
from tests.small_run import small_run

STEPS = [
    'serialise',
    'write the checkpoint',
    'write the second half of the checkpoint',
    'flush the checkpoint',
    'rename the checkpoint',
    'flush the folder',
    'write the pointer',
    'write the second half of the pointer',
    'flush the pointer',
    'rename the pointer',
    'flush the folder',
]


def saves(folder, act):
    """Two saves, of which the second removes the first; in a process of its own."""

    def work():
        SaveSteps(act).install()
        small_run(folder, 2, checkpoint=dict(max_keep_ckpts=1))

    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    process.join()
    return process.exitcode


def test_the_steps_of_a_save_are_these(tmp_path):
    seen = tmp_path / 'seen'

    def note(number, name):
        with seen.open('a') as file:
            file.write(f'{number} {name}\n')

    assert saves(tmp_path / 'run', note) == 0
    numbered = [f'{number} {name}' for number, name in enumerate(STEPS, start=1)]
    assert seen.read_text().splitlines() == [*numbered, *numbered, f'{len(STEPS) + 1} delete the checkpoint']


def test_a_process_that_dies_half_way_through_a_write_leaves_half_a_file_under_another_name(tmp_path):
    def die(number, name):
        if number == STEPS.index('write the second half of the checkpoint') + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    assert saves(tmp_path / 'run', die) == -signal.SIGKILL
    assert resumable(tmp_path / 'run') == []
    (left,) = (tmp_path / 'run').glob('.iter_1.pth.*.tmp')
    assert left.stat().st_size > 100
    assert remove_leftovers(tmp_path / 'run') == [left.name]
