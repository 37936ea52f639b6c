"""At the end of a run the weights go a part of the way back to those from before training."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..ops.unwrapped import unwrapped


class InterpolateHook(Hook):
    """After the last update: ``weights <- start + share * (weights - start)``, of student and teacher.

    What a run teaches survives that for the most part, and what it took from what the model could do
    before comes back: outlines, and words that tell little (docs/results.md). The last validation and the
    last checkpoint are of these weights; earlier checkpoints are of those on the way. A run that is stopped
    before its end keeps the weights that it has; resumed, it comes to its end and to this. A run of which
    the last checkpoint is resumed, to be longer, goes on from the interpolated weights. The start is the
    base, as for ``loss_kl``, also where ``load_from`` gives other weights.

    Args:
        share: Of the change that stays, in (0, 1]; 1 changes nothing.

    Raises:
        ValueError: ``share`` is outside (0, 1].

    Source: WiSE-FT, arXiv:2109.01903, section 3.
    """

    # Before the checkpoint, which is saved last, and after the teacher's step.
    priority = 'LOW'

    def __init__(self, share: float = 0.6) -> None:
        if not 0 < share <= 1:
            raise ValueError(f'share={share} is no share of the change that stays: give one in (0, 1].')
        self.share = share

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Go back if this was the last iteration."""
        if not self.is_last_train_iter(runner):
            return
        model = unwrapped(runner.model)
        start = model.student.start_weights
        for sa2va in (model.student, model.teacher):
            start.interpolate(sa2va, self.share)
        runner.logger.info(f'Of what training changed {self.share:g} stays, see InterpolateHook.')
