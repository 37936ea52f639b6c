"""A training loop over draws, with its length given in epochs or iterations."""

from functools import cached_property
from typing import Any

from mmengine.runner import IterBasedTrainLoop, Runner

from ..datasets.mix import DrawSampler, RegionMix, changed_data
from .patient_batches import PatientBatches
from .schedules import in_iterations
from .worker_deaths import WorkerDeaths


class DrawTrainLoop(IterBasedTrainLoop):
    """MMEngine's iteration loop, with ``max_epochs`` as another way to say ``max_iters``.

    Schedules may state shares of the run (``begin_ratio``, ``end_ratio``): the Runner makes the loop before
    it builds the schedulers, and the loop, which knows the length, turns shares into iterations.

    A resumed run goes straight to its next draw: the parent would first read, and discard,
    every batch that has been trained on.

    Args:
        max_iters: Length in iterations. Give either this or ``max_epochs``.
        max_epochs: Length in passes over ``len(dataset)`` draws.
        kwargs: See ``IterBasedTrainLoop``.

    Raises:
        ValueError: Both or neither is given.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader,
        max_iters: int | None = None,
        max_epochs: float | None = None,
        **kwargs,
    ) -> None:
        if (max_iters is None) == (max_epochs is None):
            raise ValueError('Set either train_cfg.max_iters or train_cfg.max_epochs (the other to None).')
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        iters = max_iters if max_epochs is None else max(1, round(max_epochs * len(dataloader)))
        self._deaths = WorkerDeaths(dataloader, 'train_dataloader')
        super().__init__(runner, dataloader, iters, **kwargs)
        self._max_iters: int
        self.is_in_epochs = max_epochs is not None
        self.schedule_offset = 0
        self._start_draw, self._start_iter = 0, 0
        runner.param_schedulers = in_iterations(runner.param_schedulers, self._max_iters)

    @property
    def draws_per_iter(self) -> int:
        """Draws that all ranks together use up in an iteration."""
        return self.dataloader.batch_size * getattr(self.dataloader.sampler, 'world_size', 1)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        """Of the mix; empty for another dataset."""
        dataset = self.dataloader.dataset
        return dataset.fingerprint() if isinstance(dataset, RegionMix) else {}

    def progress(self, iteration: int) -> dict[str, Any]:
        """What a checkpoint needs to go on at the next draw, on any number of processes."""
        return dict(
            done=self._start_draw + (iteration - self._start_iter) * self.draws_per_iter,
            per_iter=self.draws_per_iter,
            data=self._fingerprint,
        )

    def continue_from(self, progress: dict[str, Any] | None) -> None:
        """Go on at the draw after the last one that was trained.

        The number of draws decides, not that of iterations: on another number of processes, or with
        another batch size, the run still repeats and leaves out nothing. Its iterations are counted on. A
        length in epochs stays the same number of draws, and the schedules go on at the same share of it.

        Args:
            progress: From :meth:`progress`; None for a checkpoint of an older version, which has none.
        """
        now = self.draws_per_iter
        progress = progress or dict(done=self._iter * now, per_iter=now, data={})
        self._start_draw, self._start_iter = progress['done'], self._iter
        if self.is_in_epochs:
            position = self._start_draw // now
            self.schedule_offset = position - self._iter
            self._max_iters = self._iter + max(0, self._max_iters - position)
        warn = self.runner.logger.warning
        if progress['per_iter'] != now:
            warn(
                f'An iteration is of {now} draws now and was of {progress["per_iter"]}: the run goes on at '
                f'draw {self._start_draw} and ends at iteration {self._max_iters}. An update is of another '
                'size; the learning rate is not changed for that.'
            )
        if progress['data'] and self._fingerprint:
            for change in changed_data(progress['data'], self._fingerprint):
                warn(
                    f'THE DATA HAS CHANGED: {change} Draws mean other records now: some will come twice, '
                    'some never.'
                )

    def run(self) -> None:
        """Train to the end, from the draw after the last one that was trained."""
        done, sampler = self._iter, self.dataloader.sampler
        if done != self._start_iter:  # MMEngine's own Runner has resumed
            self.continue_from(None)
        if done > 0 and isinstance(sampler, DrawSampler):
            sampler.start = self._start_draw
            self.runner.logger.info(f'Resuming at draw {sampler.start} of the mix.')
        if isinstance(sampler, DrawSampler):
            ready = self.dataloader_iterator._iterator if done == 0 else None  # type: ignore[has-type]
            self.dataloader_iterator = PatientBatches(
                self._deaths, ready, sampler.start, self.draws_per_iter, steps=done
            )
        self.runner.message_hub.update_info('schedule_offset', self.schedule_offset)
        super().run()
