"""Mask -> caption against what people wrote: CIDEr and METEOR."""

import hashlib
import re
import shutil
from typing import Any

from pycocoevalcap.cider.cider import Cider

from ..structures import RegionPrediction
from .region_metric import RegionMetric


class RegionCaptionMetric(RegionMetric):
    """CIDEr and METEOR of written captions, over the regions that have human expressions.

    All expressions of a region are its references. Both scores are computed by
    pycocoevalcap's own implementations. CIDEr is pure Python. METEOR runs a Java program:
    it is reported where ``java`` is installed, and left out where it is not. Texts are
    lower-cased words; the library's own tokenizer needs Java too.

    Args:
        meteor: ``'auto'``, or False to leave it out where Java is installed as well.
    """

    default_prefix = 'region_caption'

    def __init__(self, meteor: str | bool = 'auto', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.with_meteor = bool(meteor) and shutil.which('java') is not None

    def measure(self, sample: RegionPrediction) -> tuple[str, str, str | None] | None:
        """Which region it is, a reference, and the caption."""
        if sample.expression is None:
            return None
        mask = hashlib.sha256(sample.mask1.cpu().numpy().tobytes()).hexdigest()
        return f'{sample.dataset} {sample.sample_id} {mask}', sample.expression, sample.caption

    def summarize(self, results: list[tuple[str, str, str | None]]) -> dict[str, float]:
        """Scores, the number of regions, and how many have no caption (they score as empty)."""
        references: dict[str, list[str]] = {}
        captions: dict[str, list[str]] = {}
        for region, expression, caption in results:
            references.setdefault(region, []).append(words(expression))
            captions[region] = [words(caption or '')]
        invalid = sum(not text[0] for text in captions.values())
        counts: dict[str, float] = {'counted': len(captions), 'invalid': invalid}
        if not captions:
            return counts
        scores = {'CIDEr': float(Cider().compute_score(references, captions)[0])}
        if self.with_meteor:
            from pycocoevalcap.meteor.meteor import Meteor

            scores['METEOR'] = float(Meteor().compute_score(references, captions)[0])
        return scores | counts


def words(text: str) -> str:
    """Lower-cased words with single spaces between, no punctuation."""
    return ' '.join(re.findall(r"[\w']+", text.lower()))
