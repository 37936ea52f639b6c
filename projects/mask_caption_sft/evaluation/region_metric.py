"""The base of metrics over regions; MMEngine's own metrics count images."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.evaluator import BaseMetric

from ..ops.metric_names import measured_name
from ..structures import RegionPrediction

#: The greedy captions, and answers that the model wrote.
_PLAIN = (1, False)


class RegionMetric(BaseMetric):
    """A metric of regions; one image may hold any number of them.

    MMEngine keeps as many results as the dataset has items, so everything that belongs to
    one item is stored as one result.

    A metric that judges captions is named ``{prefix}_best_of_4`` if each is the best of four, and one that
    judges masks ``{prefix}_given`` if the answers were given to the model instead of written by it: these
    are not the same measurement.

    Args:
        datasets: Count only regions of these datasets; None counts all.
        kwargs: See ``BaseMetric``; with ``prefix`` one metric is listed several times, for
            different datasets.
    """

    #: Whether the scores depend on who wrote the answers.
    judges_masks: ClassVar[bool] = True
    #: Whether the scores depend on which captions were kept.
    judges_captions: ClassVar[bool] = True

    def __init__(self, datasets: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.datasets = None if datasets is None else set(datasets)
        self.own_prefix: str = kwargs.get('prefix') or self.default_prefix or ''

    def process(self, data_batch: Any, data_samples: Sequence[RegionPrediction]) -> None:
        """Measure each region; group by the record it comes from."""
        rows: dict[tuple[str, str], list[Any]] = {}
        for sample in data_samples:
            measured = rows.setdefault((sample.dataset, sample.sample_id), [])
            if self.datasets is None or sample.dataset in self.datasets:
                value = self.measure(sample)
                if value is not None:
                    measured.append(value)
        # The same for all: one model predicts a validation.
        how = max(((sample.best_of, sample.answers == 'given') for sample in data_samples), default=_PLAIN)
        self.results.extend((how, measured) for measured in rows.values())

    def compute_metrics(self, results: list[tuple[tuple[int, bool], list[Any]]]) -> dict[str, float]:
        """Scores over the regions of all records."""
        how = max((how for how, _ in results), default=_PLAIN)
        self.prefix = self.measured_prefix(self.own_prefix, *how)
        return self.summarize([row for _, rows in results for row in rows])

    @classmethod
    def measured_prefix(cls, own_prefix: str, best_of: int, is_given: bool) -> str:
        """The name of this measurement, by how captions were chosen and answers were made."""
        return measured_name(own_prefix, best_of if cls.judges_captions else 1, is_given and cls.judges_masks)

    @abstractmethod
    def measure(self, sample: RegionPrediction) -> Any | None:
        """What to keep of one region; None leaves the region out."""

    @abstractmethod
    def summarize(self, results: list[Any]) -> dict[str, float]:
        """Scores in [0, 1], and how many regions were counted and invalid."""
