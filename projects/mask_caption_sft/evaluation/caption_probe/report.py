"""Tables and data of a caption probe."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...ops.markdown import markdown_table
from ..word_probe.report import as_data, mean, shown, summarize
from ..word_probe.word_list import WordList
from .agreement import Agreement
from .probe import DescribedRegion, HeardCaptions

#: Column -> what it is the mean of.
FOUND_COLUMNS = {
    'IoU in view 2': 'ious',
    "of another region's caption": 'shuffled_ious',
    'blank': 'blank_ious',
}


def found_means(heard: HeardCaptions) -> dict[str, float | None]:
    """Means over regions of the IoU in view 2, None over no region."""
    return {name: mean(getattr(heard, name)) for name in FOUND_COLUMNS.values()}


def found_table(heard: Mapping[str, HeardCaptions]) -> str:
    """A row for each listener, as Markdown."""
    rows = [[name, *map(shown, found_means(one).values())] for name, one in heard.items()]
    return markdown_table(['found by', *FOUND_COLUMNS], rows)


def agreement_table(agreements: Mapping[str, Agreement]) -> str:
    """A row for each of those with whom captions are compared, as Markdown.

    Of each kind of words: the share of pairs in which both say the same, and in how many both say one.
    """
    kinds = list(dict.fromkeys(kind for agreement in agreements.values() for kind in agreement.by_kind))
    rows = [
        [
            name,
            str(agreement.num_pairs),
            *map(shown, (agreement.shared, agreement.shared_with_other, agreement.equal)),
            *(f'{shown(same)} ({num})' for num, same in map(agreement.by_kind.__getitem__, kinds)),
        ]
        for name, agreement in agreements.items()
    ]
    columns = ['agrees with', 'pairs', 'words shared', "with another region's", 'equal', *kinds]
    return markdown_table(columns, rows)


def listener_data(heard: HeardCaptions, word_list: WordList) -> dict[str, Any]:
    """What one listener found, for JSON: means, and those of each kind of words."""
    return {
        **found_means(heard),
        'num_unreplaced': heard.probe.num_unreplaced,
        'kinds': summarize(heard.probe, word_list),
    }


def region_data(region: DescribedRegion, number: int, heard: Mapping[str, HeardCaptions]) -> dict[str, Any]:
    """What was said of one region, and what each listener found of it, word by word, for JSON.

    Args:
        region: Which.
        number: Where it is among those that were heard.
        heard: What each listener found.
    """
    found = {
        name: {'iou': one.ious[number], 'words': [as_data(word) for word in one.words[number]]}
        for name, one in heard.items()
    }
    return asdict(region) | {'heard': found}


def agreement_data(agreement: Agreement) -> dict[str, Any]:
    """For JSON."""
    by_kind = {kind: {'num_pairs': num, 'same': same} for kind, (num, same) in agreement.by_kind.items()}
    return asdict(agreement) | {'by_kind': by_kind}
