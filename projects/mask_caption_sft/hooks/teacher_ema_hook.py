"""Moves the teacher after the student."""

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from ..ops.unwrapped import unwrapped


class TeacherEMAHook(EMAHook):
    """Moves the teacher a small step towards the student after each update of the student.

    ``teacher <- (1 - momentum) * teacher + momentum * student``, for the tensors
    the student trains; the frozen ones are shared, not averaged. One step per
    optimizer update: with gradient accumulation, not one per iteration.

    The teacher is part of the model, so it is in checkpoints, and a resumed run
    goes on with the saved one. Nothing is swapped for validation: the model's
    ``predict_with`` decides which of the two is evaluated.

    Args:
        momentum: Step towards the student, in [0, 0.5]. It is 1 - decay: a decay
            of 0.999 is ``momentum=0.001``; 0 is a frozen teacher (decay 1.0).

    Raises:
        ValueError: ``momentum`` is outside [0, 0.5].

    Source: Mean Teacher, arXiv:1703.01780, section 2.
    """

    # The parent keeps its average outside the model, and builds, swaps, saves and loads it at these
    # moments. The teacher is a part of the model: there is nothing to do.
    before_train = Hook.before_train
    before_val_epoch = Hook.before_val_epoch
    after_val_epoch = Hook.after_val_epoch
    before_test_epoch = Hook.before_test_epoch
    after_test_epoch = Hook.after_test_epoch
    before_save_checkpoint = Hook.before_save_checkpoint
    after_load_checkpoint = Hook.after_load_checkpoint

    def __init__(self, momentum: float = 0.001) -> None:
        if not 0 <= momentum <= 0.5:
            raise ValueError(
                f'momentum={momentum} is outside [0, 0.5]. It is 1 - decay: for a decay of 0.999 '
                'write momentum=0.001.'
            )
        super().__init__()
        self.momentum = momentum

    def before_run(self, runner: Runner) -> None:
        """Pair the trained tensors of student and teacher by name."""
        model = unwrapped(runner.model)
        teacher = dict(model.teacher.named_parameters())
        self.pairs = [
            (teacher[name], parameter)
            for name, parameter in model.student.named_parameters()
            if parameter.requires_grad
        ]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Step if this iteration ended with an optimizer update that was made."""
        is_refused = getattr(runner.optim_wrapper, 'refusal', None) is not None
        if runner.optim_wrapper.should_update() and not is_refused:
            self.step()

    @torch.no_grad()
    def step(self) -> None:
        """One step of every pair."""
        for teacher, student in self.pairs:
            teacher.lerp_(student.to(teacher.dtype), self.momentum)
