"""The base of metrics over regions; MMEngine's own metrics count images."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.evaluator import BaseMetric

from ..structures import RegionPrediction


class RegionMetric(BaseMetric):
    """A metric of regions; one image may hold any number of them.

    MMEngine keeps as many results as the dataset has items, so everything that belongs to
    one item is stored as one result.

    A metric that judges masks is named ``{prefix}_given`` if the answers were given to the model
    instead of written by it: the two are not the same measurement.

    Args:
        datasets: Count only regions of these datasets; None counts all.
        kwargs: See ``BaseMetric``; with ``prefix`` one metric is listed several times, for
            different datasets.
    """

    #: Whether the scores depend on who wrote the answers.
    judges_masks: ClassVar[bool] = True

    def __init__(self, datasets: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.datasets = None if datasets is None else set(datasets)
        self.own_prefix: str | None = kwargs.get('prefix') or self.default_prefix

    def process(self, data_batch: Any, data_samples: Sequence[RegionPrediction]) -> None:
        """Measure each region; group by the record it comes from."""
        rows: dict[tuple[str, str], list[Any]] = {}
        for sample in data_samples:
            measured = rows.setdefault((sample.dataset, sample.sample_id), [])
            if self.datasets is None or sample.dataset in self.datasets:
                value = self.measure(sample)
                if value is not None:
                    measured.append(value)
        given = any(sample.answers == 'given' for sample in data_samples)
        self.results.extend((given, measured) for measured in rows.values())

    def compute_metrics(self, results: list[tuple[bool, list[Any]]]) -> dict[str, float]:
        """Scores over the regions of all records."""
        is_given = self.judges_masks and any(given for given, _ in results)
        self.prefix = f'{self.own_prefix}_given' if is_given else self.own_prefix
        return self.summarize([row for _, rows in results for row in rows])

    @abstractmethod
    def measure(self, sample: RegionPrediction) -> Any | None:
        """What to keep of one region; None leaves the region out."""

    @abstractmethod
    def summarize(self, results: list[Any]) -> dict[str, float]:
        """Scores in [0, 1], and how many regions were counted and invalid."""
