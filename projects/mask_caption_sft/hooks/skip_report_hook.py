"""Counts, names and limits the records that could not be read."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..datasets.skip_list import write_skip_list
from ..datasets.watched import WORKER_DIED, WatchedDatasets
from ..engine.ended import RunEndedError
from ..structures import BrokenRecord, RegionBatch

LIST_NAME = 'skipped_records.jsonl'
#: Standard deviations between a dataset's share and the limit before the run is stopped: a dataset just at
#: the limit is stopped by chance once in 30,000 looks.
_CERTAINTY = 4.0


class SkipReportHook(Hook):
    """Names every skipped record in the log, stops the run if a dataset has too many, and reports at the end.

    *Broken* records could not be read. *Unusable* ones could, but nothing in them can be drawn; the next
    record of their dataset has taken their place. Both are counted and listed, only the broken are limited.

    ``{work_dir}/skipped_records.jsonl`` lists what was skipped, once each, in the format of a
    skip-list. Records of all ranks are brought together; a resumed run goes on with the counts.

    Validation and test name theirs too, and say how many records their scores are without; those
    neither stop the run nor enter the list, which is of the training data. A resumed run does not read
    again what killed a worker, of training or of validation.

    Args:
        max_broken_ratio: Share of a dataset's drawn records that may be broken, in [0, 1]. The run stops
            when the share is above it beyond doubt: when :func:`lower_bound` is.
        min_records: A dataset is not judged until this many of its records have been drawn; at the end of
            training, one of which every record was broken is.
        check_interval: Iterations between two exchanges among the ranks; a single process
            names and judges at once.
    """

    priority = 'LOW'

    def __init__(
        self, max_broken_ratio: float = 0.05, min_records: int = 20, check_interval: int = 10
    ) -> None:
        self.max_broken_ratio, self.min_records = max_broken_ratio, min_records
        self.check_interval = check_interval
        self.drawn: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.unusable: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.named: dict[tuple[str, str], str] = {}
        self._new_drawn: Counter[str] = Counter()
        self._new_skipped: list[BrokenRecord] = []
        self._unseen: list[BrokenRecord] = []
        self._deadly_in_val: dict[tuple[str, str], str] = {}
        self._has_warned = False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count this batch's records."""
        batch: RegionBatch = data_batch['batch']
        self._new_drawn.update(name for name, _ in set(zip(batch.datasets, batch.sample_ids)))
        self._new_drawn.update(record.dataset for record in batch.skipped)
        self._new_skipped += batch.skipped
        if get_world_size() == 1 or self.every_n_train_iters(runner, self.check_interval):
            self._exchange(runner)
            self._check_shares(runner)

    def _exchange(self, runner: Runner) -> None:
        """Bring together what the ranks have met since the last time; only rank 0's log reaches a file."""
        for drawn, records in all_gather_object((self._new_drawn, self._new_skipped)):
            self.drawn.update(drawn)
            for record in records:
                (self.unusable if record.is_unusable else self.broken)[record.dataset] += 1
                self.reasons[record.dataset, record.reason.split(':')[0]] += 1
                self.named.setdefault((record.dataset, record.sample_id), record.reason)
                runner.logger.warning(f'skipped {record.dataset} {record.sample_id}: {record.reason}')
        self._new_drawn, self._new_skipped = Counter(), []

    def _check_shares(self, runner: Runner, at_end: bool = False) -> None:
        for name, broken in self.broken.items():
            drawn = self.drawn[name]
            is_early = drawn < self.min_records and not (at_end and broken == drawn)
            if is_early or lower_bound(broken, drawn) <= self.max_broken_ratio:
                continue
            self._write_list(runner)
            raise RunEndedError(
                f'{broken} of {drawn} records of dataset {name} could not be read, beyond doubt more than '
                f'max_broken_ratio={self.max_broken_ratio}: {self.report()} First of them: '
                f'{self._first(name)}. All are in {runner.work_dir}/{LIST_NAME}. Fix the data '
                '(tools/verify_datasets.py), give that list as skip_list of the dataset, or raise '
                'max_broken_ratio in custom_hooks.'
            )

    def before_save_on_all_ranks(self, runner: Runner) -> None:
        """Let the checkpoint have everyone's counts."""
        self._exchange(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the counts and names into the checkpoint, as plain values."""
        checkpoint['meta']['skipped'] = dict(
            drawn=dict(self.drawn),
            broken=dict(self.broken),
            unusable=dict(self.unusable),
            reasons=[[*key, count] for key, count in self.reasons.items()],
            named=[[*key, reason] for key, reason in self.named.items()],
            deadly_in_val=[[*key, reason] for key, reason in self._deadly_in_val.items()],
        )

    def after_resume(self, runner: Runner, meta: dict[str, Any]) -> None:
        """Take them up again; records that killed a worker are not read again."""
        state = meta.get('skipped')
        if state is None:
            return
        self.drawn, self.broken, self.unusable = (
            Counter(state[name]) for name in ('drawn', 'broken', 'unusable')
        )
        self.reasons = Counter({(dataset, kind): count for dataset, kind, count in state['reasons']})
        self.named = {(dataset, sample_id): reason for dataset, sample_id, reason in state['named']}
        _quarantine(runner.train_dataloader, _deadly(self.named))
        self._deadly_in_val = {(name, of): why for name, of, why in state.get('deadly_in_val', [])}
        if self._deadly_in_val and runner.val_loop is not None:
            _quarantine(runner.val_dataloader, self._deadly_in_val)

    def after_train(self, runner: Runner) -> None:
        """Write the final report; judge what was drawn too seldom to be judged before."""
        self._exchange(runner)
        self._write_list(runner)
        listed = f' {LIST_NAME} names them.' if self.named else ''
        replaced = f' Replaced {self.unusable.total()} that were unusable.' if self.unusable else ''
        runner.logger.info(
            f'Skipped {self.broken.total()} of {self.drawn.total()} records.{replaced} '
            f'{self.report()}{listed}'
        )
        self._check_shares(runner, at_end=True)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Note what could not be read; ranks may have unequal numbers of batches, so they wait."""
        self._unseen += data_batch['batch'].skipped

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Name them, each once, and say that the scores are without them."""
        ranks = all_gather_object(self._unseen)
        found = {(r.dataset, r.sample_id): r.reason for records in ranks for r in records}
        self._unseen = []
        self._deadly_in_val |= _deadly(found)
        for (dataset, sample_id), reason in found.items():
            runner.logger.warning(f'skipped {dataset} {sample_id}: {reason}')
        if found:
            runner.logger.warning(f'These scores are without {len(found)} record(s) that could not be read.')

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """As in validation."""
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_test_epoch(self, runner: Runner, metrics=None) -> None:
        """As in validation."""
        self.after_val_epoch(runner, metrics)

    @master_only
    def after_run(self, runner: Runner) -> None:
        """Write the list of a run that was told to stop, too; its save has brought the ranks together."""
        self._write_list(runner)

    @master_only
    def _write_list(self, runner: Runner) -> None:
        """A full disk costs the list, not the run."""
        path, named = Path(runner.work_dir) / LIST_NAME, self.named.items()
        try:
            if named:
                write_skip_list(path, [(sample_id, reason) for (_, sample_id), reason in named])
        except OSError as error:
            if not self._has_warned:
                runner.logger.warning(f'{path} cannot be written ({error}). The log names the records.')
            self._has_warned = True

    def _first(self, dataset: str, count: int = 5) -> str:
        of_dataset = [(key[1], reason) for key, reason in self.named.items() if key[0] == dataset]
        broken = [(name, reason) for name, reason in of_dataset if not reason.startswith('unusable')]
        return '; '.join(f'{sample_id} ({reason})' for sample_id, reason in broken[:count])

    def report(self) -> str:
        """Counts by dataset and kind of error."""
        return ' '.join(
            f'{dataset} {reason}: {count}.' for (dataset, reason), count in self.reasons.most_common()
        )


def _deadly(named: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {key: reason for key, reason in named.items() if reason.startswith(WORKER_DIED)}


def _quarantine(dataloader: Any, records: dict[tuple[str, str], str]) -> None:
    if isinstance(dataloader.dataset, WatchedDatasets):
        dataloader.dataset.quarantined.update(records)


def lower_bound(broken: int, drawn: int, z: float = _CERTAINTY) -> float:
    r"""The smallest share that could have given ``broken`` of ``drawn``, in [0, 1]: Wilson's lower bound.

    .. math:: \frac{p + z^2 / 2n - z \sqrt{p (1 - p) / n + z^2 / 4n^2}}{1 + z^2 / n},
              \quad p = \mathrm{broken} / n

    Args:
        broken, drawn: Counts; ``drawn`` is at least 1.
        z: Certainty in standard deviations.

    Source: Wilson, 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share, spread = broken / drawn, z * z / drawn
    root = z * math.sqrt(share * (1 - share) / drawn + spread / (4 * drawn))
    return (share + spread / 2 - root) / (1 + spread)
