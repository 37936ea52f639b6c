"""The teacher moves after the student, once per update."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook
from tests.miniature import miniature_batch, miniature_model


class Pair(torch.nn.Module):
    """A student and a teacher with one trained and one frozen weight."""

    def __init__(self, student: float, teacher: float) -> None:
        super().__init__()
        self.student, self.teacher = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        for module, value in ((self.student, student), (self.teacher, teacher)):
            torch.nn.init.constant_(module.weight, value)
            torch.nn.init.constant_(module.bias, value)
        self.student.bias.requires_grad_(False)
        self.teacher.requires_grad_(False)


def runner_with(model, accumulative_counts: int = 1):
    optimizer = torch.optim.SGD([p for p in model.student.parameters() if p.requires_grad], lr=0.0)
    wrapper = OptimWrapper(optimizer, accumulative_counts=accumulative_counts)
    wrapper.initialize_count_status(model, 0, 100)
    return SimpleNamespace(model=model, optim_wrapper=wrapper)


def iterate(runner, hook) -> None:
    loss = runner.model.student(torch.ones(1, 1)).sum()
    runner.optim_wrapper.update_params(loss)
    hook.after_train_iter(runner, batch_idx=0)


def test_each_step_closes_a_momentum_share_of_the_gap():
    runner, hook = runner_with(Pair(student=1.0, teacher=0.0)), TeacherEMAHook(momentum=0.1)
    hook.before_run(runner)
    iterate(runner, hook)
    assert runner.model.teacher.weight.item() == pytest.approx(0.1)  # 0.9*0.0 + 0.1*1
    iterate(runner, hook)
    assert runner.model.teacher.weight.item() == pytest.approx(0.19)  # 0.9*0.1 + 0.1*1


def test_with_accumulation_the_teacher_moves_once_per_update():
    runner, hook = runner_with(Pair(1.0, 0.0), accumulative_counts=4), TeacherEMAHook(momentum=0.1)
    hook.before_run(runner)
    seen = []
    for _ in range(8):
        iterate(runner, hook)
        seen.append(round(runner.model.teacher.weight.item(), 4))
    assert seen == [0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0.19]


def test_a_frozen_weight_is_left_alone():
    runner, hook = runner_with(Pair(1.0, 0.0)), TeacherEMAHook(momentum=0.5)
    hook.before_run(runner)
    iterate(runner, hook)
    assert runner.model.teacher.bias.item() == 0.0


def test_momentum_zero_is_a_frozen_teacher():
    runner, hook = runner_with(Pair(1.0, 0.0)), TeacherEMAHook(momentum=0.0)
    hook.before_run(runner)
    iterate(runner, hook)
    assert runner.model.teacher.weight.item() == 0.0


def test_a_decay_given_as_momentum_is_named():
    with pytest.raises(ValueError, match=r'momentum=0\.001'):
        TeacherEMAHook(momentum=0.999)


def test_the_real_teacher_follows_the_real_student():
    model = miniature_model().train()
    optimizer = torch.optim.SGD([p for p in model.student.parameters() if p.requires_grad], lr=0.1)
    runner = SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer))
    hook = TeacherEMAHook(momentum=0.5)
    hook.before_run(runner)
    teacher = dict(model.teacher.named_parameters())
    before = {name: teacher[name].clone() for name in model.student.trained_state_dict()}
    model.train_step({'batch': miniature_batch()}, runner.optim_wrapper)
    hook.after_train_iter(runner, 0)
    for name, tensor in model.student.trained_state_dict().items():
        torch.testing.assert_close(teacher[name], (before[name] + tensor) / 2)
