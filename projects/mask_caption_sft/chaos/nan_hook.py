"""One value that is not finite, at one iteration of a real run."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..ops.pixels import normalize_tiles
from ..ops.unwrapped import unwrapped

PLACES = ('loss', 'gradient', 'input', 'weight')


class NaNHook(Hook):
    """Puts a NaN where memory or arithmetic might, once.

    Args:
        place: One of ``PLACES``. ``loss`` multiplies the loss by it, ``gradient`` the gradient of one tensor,
            ``input`` is a pixel of the first image, ``weight`` an entry of a trained tensor of the student.
        iteration: Counted from 0.
    """

    def __init__(self, place: str, iteration: int) -> None:
        self.place, self.iteration = place, iteration
        self._undo: list[Any] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Spoil this iteration."""
        if runner.iter != self.iteration:
            return
        model = unwrapped(runner.model)
        weight = next(p for p in model.student.parameters() if p.requires_grad)
        if self.place == 'loss':
            parse = model.parse_losses

            def spoiled(losses: Any) -> Any:
                total, logged = parse(losses)
                return total * torch.nan, logged

            model.parse_losses = spoiled
            self._undo.append(lambda: delattr(model, 'parse_losses'))
        elif self.place == 'gradient':
            self._undo.append(weight.register_hook(lambda gradient: gradient * torch.nan).remove)
        elif self.place == 'input':
            batch = data_batch['batch']
            batch.pixel_values = normalize_tiles(batch.pixel_values)  # bytes cannot be NaN
            batch.pixel_values.view(-1)[0] = torch.nan
        else:
            weight.data.view(-1)[0] = torch.nan

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """The next iteration is as it would have been."""
        for undo in self._undo:
            undo()
        self._undo = []
