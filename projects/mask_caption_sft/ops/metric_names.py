"""How a validation was made, as the names of its metrics say it.

``mask_cycle/second_view_iou`` is measured on the greedy captions and on answers that the model wrote,
``mask_cycle_best_of_4_given/second_view_iou`` on the best of four captions and on given answers. These are
different measurements, and one should never be taken for the other.
"""

import re
from collections.abc import Iterable

_HOW = re.compile(r'(?:_best_of_(\d+))?(_given)?(?=/|$)')


def measured_name(name: str, best_of: int = 1, is_given: bool = False) -> str:
    """``mask_cycle`` -> ``mask_cycle_best_of_4_given``.

    Args:
        name: A metric's own name.
        best_of: Of how many captions the best was kept; 1 adds nothing.
        is_given: Whether answers were given instead of written.
    """
    return name + (f'_best_of_{best_of}' if best_of > 1 else '') + ('_given' if is_given else '')


def own_name(name: str) -> str:
    """``mask_cycle_best_of_4_given/second_view_iou`` -> ``mask_cycle/second_view_iou``."""
    return _HOW.sub('', name, count=1)


def measured_how(names: Iterable[str]) -> str:
    """``'best of 4 captions, answers given'``, by the names in a validation; empty if it was a plain one."""
    found = [match.groups() for match in map(_HOW.search, names) if match]
    best_of = max((int(count) for count, _ in found if count), default=1)
    parts = [f'best of {best_of} captions'] if best_of > 1 else []
    return ', '.join(parts + ['answers given'] * any(given for _, given in found))
