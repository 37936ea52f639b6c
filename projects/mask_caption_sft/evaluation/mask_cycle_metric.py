"""Mask -> caption -> mask', with the controls that expose cheating."""

from collections import Counter
from typing import Any

from ..ops.mask import mask_iou
from ..ops.text import distinct_ratio
from ..structures import RegionPrediction
from .region_metric import RegionMetric

_IOUS = {
    'second_view_iou': ('caption', 'mask2'),
    'same_view_iou': ('caption_same_view', 'mask1'),
    'shuffled_iou': ('caption_shuffled', 'mask2'),
    'blank_iou': ('caption_blank', 'mask2'),
}


class MaskCycleMetric(RegionMetric):
    """Mean IoU of the mask found again from the model's own caption.

    - ``second_view_iou``, ``same_view_iou``: by the view in which it is looked for.
    - ``shuffled_iou``, ``blank_iou``: from another region's caption, and from an empty one.
      Values near ``second_view_iou`` mean that the text is ignored.
    - ``confuser_accuracy``: how often, among all masks of the image, mask' overlaps
      the right one most.
    - ``caption_len`` in words, ``distinct_1``, ``distinct_2``, ``top_caption_share``.

    An answer without ``[SEG]`` gives an empty mask; ``invalid`` counts the captions (not the
    controls) that got such an answer.
    """

    default_prefix = 'mask_cycle'

    def measure(self, sample: RegionPrediction) -> dict[str, Any]:
        """IoU of every mask, and the caption."""
        row: dict[str, Any] = {
            'caption': sample.caption or '',
            'invalid': 'caption' not in sample.masks or 'caption' in sample.without_seg,
        }
        for name, (mask, truth) in _IOUS.items():
            if mask in sample.masks:
                row[name] = mask_iou(sample.masks[mask][None], getattr(sample, truth)[None]).item()
        if 'caption' in sample.masks and sample.confusers is not None and len(sample.confusers) > 1:
            ious = mask_iou(sample.masks['caption'].expand_as(sample.confusers), sample.confusers)
            # An empty mask' overlaps nothing, so it has picked nothing.
            row['confuser_accuracy'] = float(ious.max() > 0 and ious.argmax() == sample.confuser_index)
        return row

    def summarize(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Means over the regions that have the value, and counts."""
        scores: dict[str, float] = {}
        for name in (*_IOUS, 'confuser_accuracy'):
            values = [row[name] for row in results if name in row]
            if values:
                scores[name] = sum(values) / len(values)
        texts = [row['caption'] for row in results]
        if texts:
            scores['caption_len'] = sum(len(text.split()) for text in texts) / len(texts)
            scores['distinct_1'], scores['distinct_2'] = (
                distinct_ratio(texts, 1),
                distinct_ratio(texts, 2),
            )
            scores['top_caption_share'] = Counter(texts).most_common(1)[0][1] / len(texts)
        return scores | {'counted': len(results), 'invalid': sum(row['invalid'] for row in results)}
