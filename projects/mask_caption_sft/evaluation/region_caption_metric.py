"""Mask -> caption against what people wrote: CIDEr and METEOR."""

import hashlib
import logging
import shutil
from typing import Any

from mmengine.logging import print_log
from pycocoevalcap.cider.cider import Cider

from ..ops.text import words
from ..structures import RegionPrediction
from .region_metric import RegionMetric
from .upstream_caption import upstream_caption

#: Region -> its texts.
Texts = dict[str, list[str]]


class RegionCaptionMetric(RegionMetric):
    """CIDEr and METEOR of written captions, over the regions that have human expressions.

    Both scores are computed by pycocoevalcap's own implementations. CIDEr is pure Python.
    METEOR and the tokenizer of the COCO captions are Java programs, used if ``java`` is
    installed.

    - ``protocol='words'``: captions as they were written; all expressions of a region are
      its references. Texts are lower-cased words.
    - ``protocol='upstream'``: the official figures, over RefCOCOg val (umd). Captions go
      through upstream's clean-up, which deletes every "is" (:func:`upstream_caption`); texts
      are tokenised as ``COCOEvalCap`` does; each expression is an item of its own with one
      reference, as in the annotation file of upstream's script, whose items have one caption
      each. Without Java, METEOR is left out, and CIDEr is computed on our own words, which is
      not official: it is then named ``CIDEr_own_words``.

    Args:
        protocol: See above.
        meteor: ``'auto'``, or False to leave it out even if Java is installed.
        kwargs: See :class:`RegionMetric`.

    Source: upstream Sa2VA ``projects/llava_sam2/evaluation/region_cap_refcocog_eval.py``,
    ``metrics_region_cap.py``.
    """

    default_prefix = 'region_caption'
    judges_masks = False

    def __init__(self, protocol: str = 'words', meteor: str | bool = 'auto', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if protocol not in ('words', 'upstream'):
            raise ValueError(f"protocol={protocol!r} is not one of 'words', 'upstream'.")
        self.as_upstream = protocol == 'upstream'
        self.has_java = shutil.which('java') is not None
        self.with_meteor = bool(meteor) and self.has_java
        if self.as_upstream and not self.has_java:
            print_log(
                "protocol='upstream' needs Java for METEOR and for the tokenizer of the COCO captions; no "
                '`java` was found. Install it (Debian: default-jre-headless) for official figures.',
                'current',
                logging.WARNING,
            )

    def measure(self, sample: RegionPrediction) -> tuple[str, str, str | None] | None:
        """Which region it is, a reference, and the caption."""
        if sample.expression is None:
            return None
        mask = hashlib.sha256(sample.mask1.cpu().numpy().tobytes()).hexdigest()
        return f'{sample.dataset} {sample.sample_id} {mask}', sample.expression, sample.caption

    def summarize(self, results: list[tuple[str, str, str | None]]) -> dict[str, float]:
        """Scores, the number of items, and how many have no caption (they score as empty)."""
        references: Texts = {}
        captions: Texts = {}
        for number, (region, expression, caption) in enumerate(results):
            item = str(number) if self.as_upstream else region
            references.setdefault(item, []).append(expression)
            captions[item] = [upstream_caption(caption or '') if self.as_upstream else caption or '']
        references, captions = self._tokenized(references), self._tokenized(captions)
        invalid = sum(not text[0] for text in captions.values())
        counts: dict[str, float] = {'counted': len(captions), 'invalid': invalid}
        if not captions:
            return counts
        name = 'CIDEr_own_words' if self.as_upstream and not self.has_java else 'CIDEr'
        scores = {name: float(Cider().compute_score(references, captions)[0])}
        if self.with_meteor:
            from pycocoevalcap.meteor.meteor import Meteor

            scores['METEOR'] = float(Meteor().compute_score(references, captions)[0])
        return scores | counts

    def _tokenized(self, texts: Texts) -> Texts:
        if not (self.as_upstream and self.has_java and texts):
            return {item: [words(text) for text in rows] for item, rows in texts.items()}
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        return PTBTokenizer().tokenize({i: [{'caption': text} for text in rows] for i, rows in texts.items()})
