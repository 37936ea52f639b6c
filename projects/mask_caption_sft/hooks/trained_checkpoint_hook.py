"""Checkpoints of what is trained, counted in optimizer updates."""

import os
from collections import deque
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from ..checkpoints.integrity import resumable
from ..datasets.mix import RegionMix
from ..engine.atomic_backend import AtomicBackend
from ..engine.loops import DrawTrainLoop
from ..ops.unwrapped import unwrapped

#: The newest checkpoint's path below the work dir, for people and scripts; a resume looks at the files.
POINTER = 'last_checkpoint'


class TrainedCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, with its interval in updates and files written by rename.

    The model keeps its frozen base out of the state (``checkpoints.state_filter``),
    so a checkpoint holds the trained tensors of student and teacher, the
    optimizer, the schedulers and the message hub. ``meta`` names the base.

    Nothing is deleted before what replaces it is on the disk. Only finite weights are written, so
    none that are not can push a good checkpoint out.

    Before a save every hook's ``before_save_on_all_ranks(runner)`` is called, on all ranks.

    Args:
        interval_updates: Optimizer updates between two checkpoints.
        kwargs: See ``CheckpointHook``; its ``interval`` counts iterations and is
            derived from the accumulation count.
    """

    def __init__(self, interval_updates: int = 1000, **kwargs: Any) -> None:
        self.interval_updates = interval_updates
        self.last_iter: int | None = None
        # `out_dir` has a backend of its own in MMEngine; here both write by rename.
        super().__init__(
            interval=interval_updates, by_epoch=False, backend_args=dict(backend='atomic'), **kwargs
        )

    def before_train(self, runner: Runner) -> None:
        """Turn updates into iterations."""
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.interval = self.interval_updates * counts
        super().before_train(runner)
        # The work dir may have moved, and a file does not choose what is deleted.
        folder = Path(str(self.out_dir))
        self._set_best(
            {key: best and str(folder / Path(best).name) for key, best in self._best_paths().items()}
        )

    def save_now(self, runner: Runner) -> str:
        """Save outside the interval, after an iteration that ended with an update; returns the path."""
        self._save_checkpoint(runner)
        return str(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """The parent deletes the oldest before it writes the newest, and writes the pointer in place."""
        if not runner.optim_wrapper.should_update():
            # After a validation between two updates. Gradients that were summed up are in no checkpoint: one
            # from here could not be resumed exactly.
            return
        runner.call_hook('before_save_on_all_ranks')
        self._require_finite(runner)
        outdated = self._keep(runner, step)
        name, self.last_iter = self.filename_tmpl.format(step), step
        self.last_ckpt = str(Path(str(self.out_dir)) / name)
        runner.message_hub.update_info('last_ckpt', name)
        runner.save_checkpoint(
            self.out_dir, name, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args,
        )  # fmt: skip
        if is_main_process():
            target = os.path.relpath(self.last_ckpt, runner.work_dir)
            AtomicBackend().put_text(target, Path(runner.work_dir) / POINTER)
            for number in outdated:
                (Path(str(self.out_dir)) / self.filename_tmpl.format(number)).unlink(missing_ok=True)

    def _keep(self, runner: Runner, step: int) -> list[int]:
        """Add a checkpoint to those that are kept; returns the ones that are then too many."""
        if self.max_keep_ckpts <= 0:
            return []
        held: deque[int] = self.keep_ckpt_ids  # type: ignore[has-type]
        numbers = [*(number for number in held if number != step), step]
        kept, outdated = numbers[-self.max_keep_ckpts :], numbers[: -self.max_keep_ckpts]
        self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        runner.message_hub.update_info('keep_ckpt_ids', kept)
        return outdated

    def _require_finite(self, runner: Runner) -> None:
        """Raise ``RuntimeError`` on all ranks if what would be saved is not finite on any."""
        model = unwrapped(runner.model)
        wrong = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
        wrong += [
            f'optimizer {key}'
            for state in runner.optim_wrapper.optimizer.state.values()
            for key, value in state.items()
            if torch.is_tensor(value) and not torch.isfinite(value).all()
        ]
        num_wrong = torch.tensor(len(wrong))
        all_reduce(num_wrong, 'max')
        if num_wrong > 0:
            left = resumable(str(self.out_dir))
            raise RuntimeError(
                f'{int(num_wrong)} tensors are not finite at iteration {runner.iter + 1} '
                f'({", ".join(wrong[:3]) or "on another rank"}), so no checkpoint was written. '
                f'The last finite one is {left[0] if left else "none"}: resume with a lower learning rate.'
            )

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """The parent removes the previous best before it writes the new one; here it goes afterwards."""
        for name in self.key_indicators if self.save_best else ():
            if name != 'auto' and name not in metrics:
                raise ValueError(
                    f'save_best={name!r} is not among the metrics {sorted(metrics)}. Set '
                    'default_hooks.checkpoint.save_best to one of them, or to None.'
                )
        if self.save_best:
            self._require_finite(runner)
        previous = self._best_paths()
        self._set_best(dict.fromkeys(previous))
        super()._save_best_checkpoint(runner, metrics)
        written = self._best_paths()
        self._set_best({key: written[key] or previous[key] for key in previous})
        for key, best in previous.items():
            if best and written[key] and best != written[key] and is_main_process():
                Path(best).unlink(missing_ok=True)

    def _best_paths(self) -> dict[str, str | None]:
        """The best checkpoint of each key of ``save_best``; MMEngine holds that of a single key elsewhere."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {self.key_indicators[0]: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        for key, path in paths.items():
            if len(self.key_indicators) == 1:
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[key] = path

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the path of the base, for the export; only types that are safe to load are used."""
        model = unwrapped(runner.model)
        student = model.student
        checkpoint['meta']['sa2va'] = dict(
            base=student.base,
            fingerprint=student.base_fingerprint,
            lora_scaling=student.lora_scaling,
            data=_describe_data(runner),
        )
        if isinstance(runner.train_loop, DrawTrainLoop):
            checkpoint['meta']['draws'] = runner.train_loop.progress(checkpoint['meta']['iter'])
        scalars = checkpoint['message_hub']['log_scalars']
        for name, buffer in scalars.items():
            scalars[name] = _to_plain(buffer)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the plain log histories back into MMEngine's buffers; keep no path that could be deleted."""
        hub = checkpoint.get('message_hub', {})
        scalars = hub.get('log_scalars', {})
        for name, plain in scalars.items():
            if isinstance(plain, dict):
                scalars[name] = HistoryBuffer(**plain)
        info = hub.get('runtime_info', {})
        if 'keep_ckpt_ids' in info:
            info['keep_ckpt_ids'] = [int(number) for number in info['keep_ckpt_ids']]
        for name in [name for name in info if name.startswith('best_ckpt')]:
            info[name] = Path(str(info[name])).name
            if not info[name].startswith('best_'):
                del info[name]


def _describe_data(runner: Runner) -> str:
    dataset: Any = getattr(getattr(runner, 'train_dataloader', None), 'dataset', None)
    return dataset.describe() if isinstance(dataset, RegionMix) else ''


def _to_plain(buffer: HistoryBuffer) -> dict[str, Any]:
    """A log history as lists: ``torch.load(weights_only=True)`` refuses a pickled ``HistoryBuffer``."""
    values, counts = buffer.data
    return dict(log_history=values.tolist(), count_history=counts.tolist(), max_length=buffer.max_length)
