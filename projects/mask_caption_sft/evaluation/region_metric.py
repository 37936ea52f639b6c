"""Metrics over regions where MMEngine counts images."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from ..structures import RegionPrediction


class RegionMetric(BaseMetric):
    """A metric of regions; one image may hold any number of them.

    MMEngine keeps as many results as the dataset has items, so what belongs to one
    item is stored as one result.
    """

    def process(self, data_batch: Any, data_samples: Sequence[RegionPrediction]) -> None:
        """Measure each region; group by the record it comes from."""
        rows: dict[tuple[str, str], list[Any]] = {}
        for sample in data_samples:
            measured = rows.setdefault((sample.dataset, sample.sample_id), [])
            value = self.measure(sample)
            if value is not None:
                measured.append(value)
        self.results.extend(rows.values())

    def compute_metrics(self, results: list[list[Any]]) -> dict[str, float]:
        """Scores over the regions of all records."""
        return self.summarize([row for rows in results for row in rows])

    @abstractmethod
    def measure(self, sample: RegionPrediction) -> Any | None:
        """What is kept of one region; None leaves it out."""

    @abstractmethod
    def summarize(self, results: list[Any]) -> dict[str, float]:
        """Scores in [0, 1], and how many regions were counted and invalid."""
