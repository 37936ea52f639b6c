"""A checkpoint is data: resuming from it, or loading it, runs nothing and deletes nothing."""

import pytest
import torch

from projects.mask_caption_sft.chaos.hostile_files import config_that_runs, pickle_that_runs
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.engine.start_plan import StartRefusedError
from projects.mask_caption_sft.engine.training_runner import SafeRunner
from tests.small_run import small_config, small_run


def test_python_text_in_a_checkpoint_is_not_executed_by_a_resume(run_of_two, tmp_path):
    """``Runner.resume`` of MMEngine 0.10.7 runs it with ``Config.fromstring``."""
    trap = tmp_path / 'executed'
    config_that_runs(run_of_two / 'iter_2.pth', trap)
    runner, _ = small_run(run_of_two, 3, resume=True)
    assert runner.iter == 3
    assert not trap.exists()


def test_a_pickle_in_a_checkpoint_is_refused_whatever_torch_is_told_to_do(run_of_two, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    trap = tmp_path / 'executed'
    path = run_of_two / 'iter_2.pth'
    pickle_that_runs(path, trap)
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        read_checkpoint(path)
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        SafeRunner.from_cfg(small_config(tmp_path / 'loads', 3)).load_checkpoint(str(path))
    with pytest.raises(StartRefusedError, match='cannot be read as a checkpoint'):
        small_run(tmp_path / 'resumes', 3, resume=True, load_from=str(path))
    assert not trap.exists()


def test_a_path_in_a_checkpoint_does_not_choose_what_is_deleted(run_of_two, tmp_path):
    """MMEngine deletes the best checkpoint so far, by the path that the resumed file names."""
    treasure = tmp_path / 'best_of_all.pth'
    treasure.write_text('mine')
    content = read_checkpoint(run_of_two / 'iter_2.pth', mmap=False)
    content['message_hub']['runtime_info'].update(best_ckpt=str(treasure), keep_ckpt_ids=[2])
    content['message_hub']['resumed_keys'].update(best_ckpt=True, keep_ckpt_ids=True)
    torch.save(content, run_of_two / 'iter_2.pth')
    settings = dict(checkpoint=dict(save_best='score', rule='greater'), resume=True)
    runner, _ = small_run(run_of_two, 3, **settings)
    hook = next(hook for hook in runner.hooks if hasattr(hook, 'best_ckpt_path'))
    hook._save_best_checkpoint(runner, {'score': 1.0})
    assert treasure.read_text() == 'mine'
    assert (run_of_two / 'best_score_iter_3.pth').is_file()
