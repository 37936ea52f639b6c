"""What happens around an update that was refused."""

from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine.ended import RunEndedError
from ..engine.guarded_step import GuardedStep, Refusal
from ..engine.schedules import rewind, snapshot

_HELD, _REFUSED, _ACCEPTED = 'held_iters', 'refused_updates', 'accepted_losses'


class UpdateGuardHook(Hook):
    """Names the samples of a refused update, holds the schedules, and ends a run that gets no further.

    The optimizer wrapper refuses (:class:`GuardedStep`); the teacher's hook looks there too. Here the
    schedules go back to where they were before the update's first iteration, so that student, optimizer,
    schedules and teacher are as if its iterations had not been. Their draws are used up.

    Logs ``refused_updates``, the count of the whole run; it survives a resume.

    Args:
        max_in_row: Refused updates in a row after which the run stops.
        num_named: How many sample ids the log names per refusal.

    Raises:
        TypeError: The optimizer wrapper of the run has no guard.
    """

    #: After the schedules' hook (70), before the checkpoint's (90).
    priority = 80

    def __init__(self, max_in_row: int = 10, num_named: int = 64) -> None:
        self.max_in_row, self.num_named = max_in_row, num_named
        self.in_row = 0
        self._window: list[tuple[list[str], torch.Tensor]] = []
        self._before: Any = None

    def before_train(self, runner: Runner) -> None:
        """Take up the counts of the run, and remember where the schedules are."""
        if not isinstance(runner.optim_wrapper, GuardedStep):
            raise TypeError(
                f'optim_wrapper is {type(runner.optim_wrapper).__name__}, which makes updates of NaN. Set '
                'optim_wrapper.type to GuardedOptimWrapper or GuardedAmpOptimWrapper of '
                'engine/guarded_step.py, or leave update_guard out of default_hooks.'
            )
        info = runner.message_hub.runtime_info
        runner.optim_wrapper.accepted.extend(info.get(_ACCEPTED, []))
        self._before = snapshot(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """At the end of an update: undo what a refused one has left, or start the next."""
        ids = list(dict.fromkeys(data_batch['batch'].sample_ids))
        self._window.append((ids, outputs['loss']))
        if not runner.optim_wrapper.should_update():
            return
        refusal: Refusal | None = runner.optim_wrapper.refusal
        if refusal is not None:
            self._undo(runner, refusal)
        hub = runner.message_hub
        hub.update_scalar(f'train/{_REFUSED}', hub.runtime_info.get(_REFUSED, 0))
        self.in_row = 0 if refusal is None else self.in_row + 1
        self._window, self._before = [], snapshot(runner)
        if self.in_row >= self.max_in_row:
            raise RunEndedError(
                f'{self.in_row} updates in a row were refused, the last at iteration {runner.iter + 1} '
                f'because {refusal.reason if refusal else ""}; the log names their samples. The newest '
                'checkpoint is finite: look at the samples, or resume with a lower learning rate.'
            )

    def _undo(self, runner: Runner, refusal: Refusal) -> None:
        rewind(runner, self._before)
        info = runner.message_hub.runtime_info
        runner.message_hub.update_info(_HELD, info.get(_HELD, 0) + len(self._window))
        runner.message_hub.update_info(_REFUSED, info.get(_REFUSED, 0) + 1)
        suspects = [ids for ids, loss in self._window if not torch.isfinite(torch.as_tensor(loss))]
        mine = [name for ids in suspects or [ids for ids, _ in self._window] for name in ids]
        ranks = all_gather_object((bool(suspects), mine))
        # Ranks whose losses are finite are cleared by one whose loss is not.
        blamed = any(is_suspect for is_suspect, _ in ranks)
        ids = [name for is_suspect, names in ranks if is_suspect or not blamed for name in names]
        more = f' and {len(ids) - self.num_named} more' if len(ids) > self.num_named else ''
        runner.logger.warning(
            f'No update at iteration {runner.iter + 1}: {refusal.reason}. Its samples: '
            f'{", ".join(ids[: self.num_named])}{more}'
        )

    def before_save_on_all_ranks(self, runner: Runner) -> None:
        """Put what a resumed run has to know into the message hub."""
        runner.message_hub.update_info(_ACCEPTED, list(runner.optim_wrapper.accepted))


def held_iters(runner: Runner) -> int:
    """Iterations of the run that its schedules do not count."""
    return int(runner.message_hub.runtime_info.get(_HELD, 0))
