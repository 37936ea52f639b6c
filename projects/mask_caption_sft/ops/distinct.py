"""Equal items once."""

from collections.abc import Hashable, Sequence


def first_of_equals(items: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Which items are the first of equal ones, and which of those each item equals.

    Returns:
        Positions of D first items, in order, and for each of the N items a number from 0 to D - 1, so that
        ``items[first[number[i]]] == items[i]``.
    """
    number_of = {item: number for number, item in enumerate(dict.fromkeys(items))}
    numbers = [number_of[item] for item in items]
    first = [-1] * len(number_of)
    for position in reversed(range(len(items))):
        first[numbers[position]] = position
    return first, numbers
