"""A resumed run follows its config, from the iteration where it stopped."""

import warnings

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from ..engine.schedules import built_schedulers
from .update_guard_hook import held_iters


class ResumeSettingsHook(Hook):
    """Settings of the optimizer and of the schedules come from the config, not from the checkpoint.

    MMEngine restores both from the checkpoint, so that a new ``max_iters`` or learning rate would
    have no effect. Here the checkpoint provides the state of each tensor and the iteration; the schedules
    are run up to it. With an unchanged config this gives exactly the values that the run had.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the config's settings in place of the saved ones.

        Raises:
            ValueError: The config divides the trained tensors into a different number of groups.
        """
        checkpoint.pop('param_schedulers', None)
        state = checkpoint.get('optimizer')
        if state is None or not isinstance(runner.optim_wrapper, OptimWrapper):
            return
        saved, ours = state['param_groups'], runner.optim_wrapper.optimizer.param_groups
        if len(saved) != len(ours):
            raise ValueError(
                f'The checkpoint has {len(saved)} groups of parameters, this config makes {len(ours)}. To '
                'resume, set optim_wrapper.paramwise_cfg as it was; to start a new run from these weights, '
                'set load_from and leave resume out.'
            )
        for group, settings in zip(saved, ours):
            group.update({key: value for key, value in settings.items() if key != 'params'})
        state.pop('base_param_settings', None)

    def before_train(self, runner: Runner) -> None:
        """Run the schedules up to where the run goes on; iterations of refused updates do not count."""
        steps = runner.iter + getattr(runner.train_loop, 'schedule_offset', 0) - held_iters(runner)
        with warnings.catch_warnings():
            # The optimizer has not stepped yet in this process: its steps were taken before the run stopped.
            warnings.filterwarnings('ignore', message='Detected call of `scheduler.step')
            for scheduler in built_schedulers(runner):
                for _ in range(runner.epoch if scheduler.by_epoch else steps):
                    scheduler.step()
