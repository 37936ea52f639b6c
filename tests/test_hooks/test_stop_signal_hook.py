"""A run that is told to stop saves at its next update, on all ranks, and goes on exactly."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.hooks.stop_signal_hook import EXIT_CODE, StopSignalHook
from tests.small_run import small_run
from tests.two_ranks import run_two_ranks
from tests.workplace import ROOT

SELDOM = dict(interval_updates=1000)


class Send(Hook):
    """A signal to this process, in the middle of an iteration."""

    def __init__(self, name: str = 'SIGTERM', iteration: int = 2, times: int = 1, rank: int = 0) -> None:
        self.name, self.iteration, self.times, self.rank = name, iteration, times, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == self.iteration and runner.rank == self.rank:
            for _ in range(self.times):
                os.kill(os.getpid(), getattr(signal, self.name))


def hooks(**kwargs):
    return [dict(type=Send, **kwargs), dict(type=StopSignalHook)]


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1', 'SIGINT'])
def test_the_run_saves_at_the_next_update_and_ends_with_75(tmp_path, name):
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(SystemExit) as ended:
        small_run(tmp_path / 'run', 12, accumulative_counts=4, checkpoint=SELDOM, hooks=hooks(name=name))
    assert ended.value.code == EXIT_CODE == 75
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_4.pth']
    assert signal.getsignal(getattr(signal, name)) is before
    again, _ = small_run(tmp_path / 'run', 12, accumulative_counts=4, checkpoint=SELDOM, resume=True)
    whole, _ = small_run(tmp_path / 'whole', 12, accumulative_counts=4, checkpoint=SELDOM)
    state = whole.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.model.state_dict().items())


def test_a_second_ctrl_c_ends_it_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        small_run(tmp_path / 'run', 6, checkpoint=SELDOM, hooks=hooks(name='SIGINT', times=2))


def test_in_the_last_iteration_the_run_just_ends(tmp_path):
    runner, _ = small_run(tmp_path / 'run', 3, checkpoint=SELDOM, hooks=hooks(iteration=2))
    assert runner.iter == 3
    assert (tmp_path / 'run' / 'iter_3.pth').is_file()


def both_stop(rank: int, folder: str) -> None:
    """Only rank 1 is told."""
    with pytest.raises(SystemExit):
        small_run(Path(folder) / 'run', 8, checkpoint=SELDOM, launcher='pytorch', hooks=hooks(rank=1))


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_all_with_one_checkpoint(tmp_path):
    run_two_ranks(both_stop, tmp_path)
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_3.pth']


# ---------------------------------------------------------------- tools/dist_train.sh

#: In the place of tools/train.py: the same loop, hooks and launcher with a model of one weight.
TRAIN = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from mmengine.config import Config
from mmengine.hooks import Hook
from projects.mask_caption_sft.engine.launch import prepare_distributed
from projects.mask_caption_sft.hooks.stop_signal_hook import StopSignalHook
from tests.small_run import small_run

class Slow(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (Path(runner.work_dir) / f'rank{{runner.rank}}').write_text(f'{{os.getpid()}} {{runner.iter + 1}}')
        time.sleep(0.1)

prepare_distributed(Config(dict(launcher='pytorch', model_wrapper_cfg=dict())))
small_run(Path({folder!r}) / 'run', {iters}, launcher='pytorch', checkpoint=dict(interval_updates=1000),
          num_records=400, hooks=[dict(type=Slow), dict(type=StopSignalHook)])
os._exit(0)
"""


#: Says that it was told to stop, and crashes on its way out, as a thread of gloo's may do.
CRASHES = """
import os, sys
sys.path.insert(0, {root!r})
from projects.mask_caption_sft.engine.ended import tell_launcher
tell_launcher('SIGTERM')
os.abort()
"""


def launch(folder: Path, iters: int, port: int, script: str = TRAIN) -> subprocess.Popen:
    (folder / 'tools').mkdir()
    for name in ('dist_train.sh', '_root.py'):
        shutil.copy(ROOT / 'tools' / name, folder / 'tools')
    code = script.format(root=str(ROOT), folder=str(folder), iters=iters)
    (folder / 'tools' / 'train.py').write_text(code)
    (folder / 'config.py').touch()  # the launcher looks whether it is there
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    variables = os.environ | {'PORT': str(port), 'OMP_NUM_THREADS': '1', 'PATH': path}
    command = ['bash', str(folder / 'tools' / 'dist_train.sh'), str(folder / 'config.py'), '2']
    with (folder / 'log').open('w') as log:
        return subprocess.Popen(command, env=variables, stdout=log, stderr=log)


def wait_for_iteration(folder: Path, number: int, patience: float = 300) -> int:
    """Process id of rank 1, once it has come so far."""
    path, end = folder / 'run' / 'rank1', time.time() + patience
    while time.time() < end:
        if path.is_file() and len(parts := path.read_text().split()) == 2 and int(parts[1]) >= number:
            return int(parts[0])
        time.sleep(0.05)
    raise TimeoutError((folder / 'log').read_text()[-3000:])


@pytest.fixture
def _ctrl_c_is_heard():
    """A suite in the background ignores it, and bash cannot listen to what was ignored as it began."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures('_ctrl_c_is_heard')
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1', 'SIGINT'])
def test_the_launcher_passes_the_signal_on_and_ends_with_75(tmp_path, name):
    run = launch(tmp_path, iters=2000, port=29541)
    wait_for_iteration(tmp_path, 3)
    run.send_signal(getattr(signal, name))
    assert run.wait(timeout=1200) == 75, (tmp_path / 'log').read_text()[-3000:]
    (saved,) = (tmp_path / 'run').glob('iter_*.pth')
    assert read_checkpoint(saved)['meta']['iter'] >= 3


@pytest.mark.slow
def test_a_crash_after_the_last_word_is_no_failure(tmp_path):
    run = launch(tmp_path, iters=1, port=29542, script=CRASHES)
    assert run.wait(timeout=1200) == 75, (tmp_path / 'log').read_text()[-3000:]
