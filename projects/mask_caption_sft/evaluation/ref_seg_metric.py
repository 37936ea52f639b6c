"""Expression -> mask."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log

from ..structures import RegionPrediction
from .region_metric import RegionMetric


class RefSegMetric(RegionMetric):
    """cIoU, mIoU and precision of masks found from human expressions.

    cIoU is the sum of intersections over the sum of unions, mIoU the mean of the
    per-expression IoU (upstream's gIoU), P@t the share with IoU of at least t. If the model
    wrote no ``[SEG]``, the missing prediction counts as an empty mask in all of them. Two
    empty masks agree: IoU 1.

    Args:
        thresholds: IoU thresholds of the precision.
        missing: ``'empty'``, or ``'left_out'`` as in upstream's script, where an expression
            without a mask adds nothing to either sum of cIoU: a model then scores higher by
            not answering what is hard. The two are equal where ``invalid`` is 0.
        holds, lacks: Count only expressions with one of the words of ``holds``, and with none of ``lacks``;
            words are what stands between spaces, in lower case. With ``prefix`` the metric is listed again.
        kwargs: See :class:`RegionMetric`.

    Source: upstream Sa2VA ``projects/llava_sam2/evaluation/dataset/RES.py``.
    """

    default_prefix = 'ref_seg'
    judges_captions = False

    def __init__(
        self,
        thresholds: Sequence[float] = (0.5, 0.7, 0.9),
        missing: str = 'empty',
        holds: Sequence[str] | None = None,
        lacks: Sequence[str] = (),
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if missing not in ('empty', 'left_out'):
            raise ValueError(f"missing={missing!r} is not one of 'empty', 'left_out'.")
        self.thresholds, self.missing = tuple(thresholds), missing
        self.holds, self.lacks = None if holds is None else set(holds), set(lacks)

    def measure(self, sample: RegionPrediction) -> tuple[int, int, bool] | None:
        """Intersection and union in pixels, and whether the mask is missing."""
        if sample.expression is None or not self._counts(sample.expression):
            return None
        is_missing = 'expression' in sample.without_seg
        mask, truth = None if is_missing else sample.masks.get('expression'), sample.mask2
        intersection = 0 if mask is None else int((mask & truth).sum())
        union = int(truth.sum()) if mask is None else int((mask | truth).sum())
        return intersection, union, mask is None

    def _counts(self, expression: str) -> bool:
        words = set(expression.lower().split())
        return words.isdisjoint(self.lacks) and (self.holds is None or not words.isdisjoint(self.holds))

    def summarize(self, results: list[tuple[int, int, bool]]) -> dict[str, float]:
        """Scores in [0, 1], and how many expressions were counted and invalid."""
        if not results:
            print_log(
                f'{type(self).__name__}: no expression in the validation data.',
                'current',
                logging.WARNING,
            )
            return {'counted': 0, 'invalid': 0}
        ious = [i / u if u else 1.0 for i, u, _ in results]
        scores = {'cIoU': self._ciou(results), 'mIoU': sum(ious) / len(ious)}
        for threshold in self.thresholds:
            scores[f'P@{threshold}'] = sum(iou >= threshold for iou in ious) / len(ious)
        return scores | {
            'counted': len(results),
            'invalid': sum(missing for *_, missing in results),
        }

    def _ciou(self, results: list[tuple[int, int, bool]]) -> float:
        kept = [(i, u) for i, u, missing in results if not (missing and self.missing == 'left_out')]
        union = sum(u for _, u in kept)
        if not union:
            return 1.0 if kept else 0.0
        return sum(i for i, _ in kept) / union
