"""Checkpoints of what is trained, counted in optimizer updates."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..datasets.mix import RegionMix
from ..engine import atomic_backend  # noqa: F401  registers the backend 'atomic'


class TrainedCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, with its interval in updates and files written by rename.

    The model keeps its frozen base out of the state (``checkpoints.state_filter``),
    so a checkpoint holds the trained tensors of student and teacher, the
    optimizer, the schedulers and the message hub. ``meta`` names the base.

    Args:
        interval_updates: Optimizer updates between two checkpoints.
        kwargs: See ``CheckpointHook``; its ``interval`` counts iterations and is
            derived from the accumulation count.
    """

    def __init__(self, interval_updates: int = 1000, **kwargs: Any) -> None:
        self.interval_updates = interval_updates
        # `out_dir` has a backend of its own in MMEngine; here both write by rename.
        super().__init__(
            interval=interval_updates, by_epoch=False, backend_args=dict(backend='atomic'), **kwargs
        )

    def before_train(self, runner: Runner) -> None:
        """Turn updates into iterations."""
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.interval = self.interval_updates * counts
        super().before_train(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """The parent removes the previous best before it writes the new one; here it goes afterwards."""
        for name in self.key_indicators if self.save_best else ():
            if name != 'auto' and name not in metrics:
                raise ValueError(
                    f'save_best={name!r} is not among the metrics {sorted(metrics)}. Set '
                    'default_hooks.checkpoint.save_best to one of them, or to None.'
                )
        previous, self.best_ckpt_path = getattr(self, 'best_ckpt_path', None), None
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = previous
        elif previous and previous != self.best_ckpt_path and is_main_process():
            Path(previous).unlink(missing_ok=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the path of the base, for the export; only types that are safe to load are used."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        student = model.student
        checkpoint['meta']['sa2va'] = dict(
            base=student.base,
            fingerprint=student.base_fingerprint,
            lora_scaling=student.lora_scaling,
            data=_describe_data(runner),
        )
        scalars = checkpoint['message_hub']['log_scalars']
        for name, buffer in scalars.items():
            scalars[name] = _to_plain(buffer)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the plain log histories back into MMEngine's buffers."""
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, plain in scalars.items():
            if isinstance(plain, dict):
                scalars[name] = HistoryBuffer(**plain)


def _describe_data(runner: Runner) -> str:
    dataset: Any = getattr(getattr(runner, 'train_dataloader', None), 'dataset', None)
    return dataset.describe() if isinstance(dataset, RegionMix) else ''


def _to_plain(buffer: HistoryBuffer) -> dict[str, Any]:
    """A log history as lists: ``torch.load(weights_only=True)`` refuses a pickled ``HistoryBuffer``."""
    values, counts = buffer.data
    return dict(log_history=values.tolist(), count_history=counts.tolist(), max_length=buffer.max_length)
