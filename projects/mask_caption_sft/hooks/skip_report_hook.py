"""Counts, names and limits the records that could not be read."""

from collections import Counter

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..structures import RegionBatch


class SkipReportHook(Hook):
    """Every skipped record is named in the log; too many stop the run; a report ends it.

    Args:
        max_broken_ratio: Share of drawn records that may be broken, in [0, 1].
        min_records: The share is not judged before so many records were drawn.
        check_interval: Iterations between two looks at the share, over all ranks.
    """

    priority = 'LOW'

    def __init__(
        self, max_broken_ratio: float = 0.05, min_records: int = 50, check_interval: int = 10
    ) -> None:
        self.max_broken_ratio, self.min_records = max_broken_ratio, min_records
        self.check_interval = check_interval
        self.drawn, self.broken = 0, 0
        self.reasons: Counter[tuple[str, str]] = Counter()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Count this batch's records."""
        batch: RegionBatch = data_batch['batch']
        self.drawn += len(set(batch.sample_ids)) + len(batch.skipped)
        self.broken += len(batch.skipped)
        for record in batch.skipped:
            self.reasons[record.dataset, record.reason.split(':')[0]] += 1
            runner.logger.warning(f'skipped {record.dataset} {record.sample_id}: {record.reason}')
        if self.every_n_train_iters(runner, self.check_interval):
            self._check_share()

    def _check_share(self) -> None:
        counts = torch.tensor([self.drawn, self.broken], dtype=torch.float64)
        all_reduce(counts)
        drawn, broken = counts.tolist()
        if drawn >= self.min_records and broken > self.max_broken_ratio * drawn:
            raise RuntimeError(
                f'{broken:.0f} of {drawn:.0f} records could not be read, more than '
                f'max_broken_ratio={self.max_broken_ratio}: {self.report()} '
                'Mend the data (the log names each record), or raise max_broken_ratio in custom_hooks.'
            )

    def after_train(self, runner: Runner) -> None:
        """The final report."""
        runner.logger.info(f'Skipped {self.broken} of {self.drawn} records on this rank. {self.report()}')

    def report(self) -> str:
        """Counts by dataset and kind of error."""
        return ' '.join(
            f'{dataset} {reason}: {count}.' for (dataset, reason), count in self.reasons.most_common()
        )
