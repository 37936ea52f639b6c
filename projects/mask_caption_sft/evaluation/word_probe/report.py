"""Tables and data of a probe."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ...ops.markdown import markdown_table
from .probe import ImageProbe, ProbedWord
from .word_list import WordList

#: Over every listed word.
ALL = 'all kinds'
#: Column -> key of a row of :func:`summarize`.
COLUMNS = {
    'words': 'num_words',
    'true': 'iou_true',
    'replaced': 'iou_replaced',
    'lost': 'lost',
    'decides': 'num_deciding',
    'lost where it decides': 'lost_deciding',
    'other region, before': 'rival_before',
    'after': 'rival_after',
    'dropped': 'iou_dropped',
    'lost if dropped': 'lost_dropped',
    'blank': 'iou_blank',
}
#: Counts are whole numbers; the others are means of IoU, None over no word.
Row = dict[str, float | int | None]


def summarize(probe: ImageProbe, word_list: WordList) -> dict[str, Row]:
    """A row for each kind of words, in the order of the list, and one for all of them."""
    kinds = {kind: [word for word in probe.words if word.case.kind == kind] for kind in word_list.kinds}
    return {kind: _row(found) for kind, found in {**kinds, ALL: probe.words}.items()}


def _row(found: Sequence[ProbedWord]) -> Row:
    deciding = [word for word in found if word.case.rivals]
    return {
        'num_words': len(found),
        'iou_true': mean(word.iou_true for word in found),
        'iou_replaced': mean(word.iou_replaced for word in found),
        'lost': mean(word.iou_true - word.iou_replaced for word in found),
        'num_deciding': len(deciding),
        'lost_deciding': mean(word.iou_true - word.iou_replaced for word in deciding),
        'rival_before': mean(word.rival_before for word in deciding if word.rival_before is not None),
        'rival_after': mean(word.rival_after for word in deciding if word.rival_after is not None),
        'iou_dropped': mean(word.iou_dropped for word in found),
        'lost_dropped': mean(word.iou_true - word.iou_dropped for word in found),
        'iou_blank': mean(word.iou_blank for word in found),
    }


def mean(values: Iterable[float]) -> float | None:
    """The mean; None of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else None


def words_table(rows: dict[str, Row]) -> str:
    """Rows of :func:`summarize` as Markdown, ``-`` where there is no word to take a mean over."""
    cells = [[kind, *(shown(row[key]) for key in COLUMNS.values())] for kind, row in rows.items()]
    return markdown_table(['', *COLUMNS], cells)


def shown(value: float | int | None) -> str:
    """A count as it is, a mean with three digits."""
    if value is None:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.3f}'


def as_data(word: ProbedWord) -> dict[str, Any]:
    """One word's case and IoUs in one flat dict, for JSON."""
    found = asdict(word)
    return {**found.pop('case'), **found}
