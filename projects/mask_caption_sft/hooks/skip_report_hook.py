"""Counts, names and limits the records that could not be read."""

from collections import Counter
from pathlib import Path

from mmengine.dist import all_gather_object, get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..datasets.skip_list import write_skip_list
from ..structures import BrokenRecord, RegionBatch

LIST_NAME = 'skipped_records.jsonl'


class SkipReportHook(Hook):
    """Names every skipped record in the log, stops the run if there are too many, and reports at the end.

    ``{work_dir}/skipped_records.jsonl`` lists what was skipped, once each, in the format of a
    skip-list. Records of all ranks are brought together.

    Validation and test name theirs too, and say how many records their scores are without; those
    neither stop the run nor enter the list, which is of the training data.

    Args:
        max_broken_ratio: Share of drawn records that may be broken, in [0, 1].
        min_records: The share is not judged until this many records have been drawn.
        check_interval: Iterations between two exchanges among the ranks; a single process
            names and judges at once.
    """

    priority = 'LOW'

    def __init__(
        self, max_broken_ratio: float = 0.05, min_records: int = 50, check_interval: int = 10
    ) -> None:
        self.max_broken_ratio, self.min_records = max_broken_ratio, min_records
        self.check_interval = check_interval
        self.drawn, self.broken = 0, 0
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.named: dict[tuple[str, str], str] = {}
        self._new_drawn = 0
        self._new_broken: list[BrokenRecord] = []
        self._unseen: list[BrokenRecord] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count this batch's records."""
        batch: RegionBatch = data_batch['batch']
        self._new_drawn += len(set(batch.sample_ids)) + len(batch.skipped)
        self._new_broken += batch.skipped
        if get_world_size() == 1 or self.every_n_train_iters(runner, self.check_interval):
            self._exchange(runner)
            self._check_share(runner)

    def _exchange(self, runner: Runner) -> None:
        """Bring together what the ranks have met since the last time; only rank 0's log reaches a file."""
        for drawn, records in all_gather_object((self._new_drawn, self._new_broken)):
            self.drawn += drawn
            self.broken += len(records)
            for record in records:
                self.reasons[record.dataset, record.reason.split(':')[0]] += 1
                self.named.setdefault((record.dataset, record.sample_id), record.reason)
                runner.logger.warning(f'skipped {record.dataset} {record.sample_id}: {record.reason}')
        self._new_drawn, self._new_broken = 0, []

    def _check_share(self, runner: Runner) -> None:
        if self.drawn >= self.min_records and self.broken > self.max_broken_ratio * self.drawn:
            self._write_list(runner)
            raise RuntimeError(
                f'{self.broken} of {self.drawn} records could not be read, more than '
                f'max_broken_ratio={self.max_broken_ratio}: {self.report()} '
                f'First of them: {self._first()}. All are in {runner.work_dir}/{LIST_NAME}. Fix the data '
                '(tools/verify_datasets.py), or raise max_broken_ratio in custom_hooks.'
            )

    def after_train(self, runner: Runner) -> None:
        """Write the final report."""
        self._exchange(runner)
        self._write_list(runner)
        listed = f' {LIST_NAME} names them.' if self.named else ''
        runner.logger.info(f'Skipped {self.broken} of {self.drawn} records. {self.report()}{listed}')

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Note what could not be read; ranks may have unequal numbers of batches, so they wait."""
        self._unseen += data_batch['batch'].skipped

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Name them, each once, and say that the scores are without them."""
        ranks = all_gather_object(self._unseen)
        found = {(r.dataset, r.sample_id): r.reason for records in ranks for r in records}
        self._unseen = []
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
    def _write_list(self, runner: Runner) -> None:
        if self.named:
            path = Path(runner.work_dir) / LIST_NAME
            write_skip_list(path, [(sample_id, reason) for (_, sample_id), reason in self.named.items()])

    def _first(self, count: int = 5) -> str:
        return '; '.join(
            f'{sample_id} ({reason})' for (_, sample_id), reason in list(self.named.items())[:count]
        )

    def report(self) -> str:
        """Counts by dataset and kind of error."""
        return ' '.join(
            f'{dataset} {reason}: {count}.' for (dataset, reason), count in self.reasons.most_common()
        )
