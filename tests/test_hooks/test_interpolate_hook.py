"""At the end of a run, and only there, the weights go a part of the way back."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger

from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.hooks.interpolate_hook import InterpolateHook
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook
from projects.mask_caption_sft.sa2va.start_weights import adapters_of
from tests.miniature import miniature_model, miniature_sa2va
from tests.small_4b import run_small_4b, small_4b


def runner_at(model, iteration: int):
    return SimpleNamespace(
        model=model, iter=iteration, max_iters=8, logger=MMLogger.get_instance('test_interpolate')
    )


def changed(model):
    """The model after a training that added 1 to whatever is trained, and 3 in the teacher's."""
    with torch.no_grad():
        for side, change in ((model.student, 1.0), (model.teacher, 3.0)):
            names = model.student.trained_state_dict()
            for name, parameter in side.named_parameters():
                if name in names:
                    parameter.add_(change)
    return model


def without_lora_matrices(sa2va, names) -> dict[str, torch.Tensor]:
    return {
        name: parameter.detach().clone()
        for name, parameter in sa2va.named_parameters()
        if name in names and 'lora_' not in name
    }


def test_of_each_change_the_share_stays():
    model = miniature_model(sa2va=miniature_sa2va(train_embeddings=True))
    names = set(model.student.trained_state_dict())
    start = without_lora_matrices(model.student, names)
    assert any('embed' in name for name in start)
    assert any('mask_decoder' in name for name in start)
    InterpolateHook(share=0.25).after_train_iter(runner_at(changed(model), 7), 0)
    student, teacher = (without_lora_matrices(side, names) for side in (model.student, model.teacher))
    for name, value in start.items():
        torch.testing.assert_close(student[name], value + 0.25, msg=name)
        torch.testing.assert_close(teacher[name], value + 0.75, msg=name)


def test_what_lora_adds_is_scaled_in_student_and_teacher():
    model = changed(miniature_model())
    before = [
        [adapter.get_delta_weight('default').clone() for adapter in adapters_of(side)]
        for side in (model.student, model.teacher)
    ]
    InterpolateHook(share=0.25).after_train_iter(runner_at(model, 7), 0)
    for side, changes in zip((model.student, model.teacher), before):
        assert changes
        assert all(change.any() for change in changes)
        for adapter, change in zip(adapters_of(side), changes):
            torch.testing.assert_close(adapter.get_delta_weight('default'), 0.25 * change)


def test_before_the_last_iteration_nothing_moves():
    model = changed(miniature_model())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hook = InterpolateHook(share=0.25)
    for iteration in range(7):
        hook.after_train_iter(runner_at(model, iteration), 0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize('share', [0.0, -0.5, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=rf'share={share}'):
        InterpolateHook(share=share)


class Last(Hook):
    """The trained weights after the last update and the teacher's step."""

    priority = 'BELOW_NORMAL'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.is_last_train_iter(runner):
            runner.trained = {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The 4B's other config on a miniature, under bf16, with the teacher's hook."""
    config = small_4b('mask_caption_sft_4b_weighted', tmp_path_factory.mktemp('run') / 'work', 8, Last)
    # At the config's rate eight iterations change nearly nothing.
    config.optim_wrapper.optimizer.update(lr=1e-2)
    kinds = [hook['type'] for hook in config.custom_hooks]
    assert TeacherEMAHook in kinds
    assert InterpolateHook in kinds
    return run_small_4b(config)


@pytest.mark.slow
def test_the_4b_run_ends_with_interpolated_weights(run):
    share = next(hook.share for hook in run.hooks if isinstance(hook, InterpolateHook))
    assert 0 < share < 1
    start = run.model.student.start_weights._tensors
    state, num_full, num_lora = run.model.state_dict(), 0, 0
    for name, trained in run.trained.items():
        if 'lora_A' in name:
            assert torch.equal(state[name], trained), name
            continue
        before = start.get(name.partition('.')[2], torch.zeros(()))
        change = trained - before
        torch.testing.assert_close(state[name] - before, share * change, rtol=1e-3, atol=2e-7, msg=name)
        if change.abs().max() > 5e-6:  # the teacher's, of two steps of a thousandth
            num_lora, num_full = num_lora + ('lora_B' in name), num_full + ('lora_B' not in name)
    assert num_lora == 28
    assert num_full > 50


@pytest.mark.slow
def test_the_last_checkpoint_is_of_these_weights(run):
    saved = read_checkpoint(Path(run.work_dir) / 'iter_8.pth')['state_dict']
    for name, value in run.model.state_dict().items():
        assert torch.equal(saved[name], value), name
