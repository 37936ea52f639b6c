"""Names for the parts of a step, to which a census charges what runs inside them."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest.mock import patch

_names: list[str] = []
_watches: list['_Watch'] = []


@dataclass
class _Watch:
    """What each part took, by a clock; what is timed within another part is not counted there."""

    clock: Callable[[], float]
    last: float
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def charge(self) -> None:
        now = self.clock()
        self.seconds[current_part()] += now - self.last
        self.last = now


@contextmanager
def timed_parts(clock: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Inside, the seconds of each part are added up; afterwards they are in what is given."""
    watch = _Watch(clock, clock())
    _watches.append(watch)
    try:
        yield watch.seconds
    finally:
        watch.charge()
        _watches.remove(watch)


def current_part() -> str:
    """The names of the two outermost parts that are running, such as objective and verb; empty outside."""
    return ' / '.join(_names[:2])


@contextmanager
def part(name: str) -> Iterator[None]:
    """Inside, a part of that name is running."""
    _charge()
    _names.append(name)
    try:
        yield
    finally:
        _charge()
        _names.pop()


def _charge() -> None:
    for watch in _watches:
        watch.charge()


@contextmanager
def named_methods(owners: Mapping[str, Any], with_own_name: bool = True) -> Iterator[None]:
    """Inside, every public method of some objects is a part. It changes no source file.

    Of the methods named by one call of this function only the outermost is a part: what ``look`` calls
    belongs to ``look``.

    Args:
        owners: The objects by name; an object that occurs twice has its first name.
        with_own_name: Name the part ``owner.method``; otherwise ``owner``.
    """
    distinct = {id(owner): (name, owner) for name, owner in reversed(list(owners.items()))}
    is_inside: list[bool] = []
    with ExitStack() as stack:
        for name, owner in distinct.values():
            for method in _public_methods(type(owner)):
                label = f'{name}.{method}' if with_own_name else name
                named = _as_part(getattr(owner, method), label, is_inside)
                stack.enter_context(patch.object(owner, method, named))
        yield


def _public_methods(kind: type) -> list[str]:
    return [name for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != '_']


def _as_part(function: Callable, label: str, is_inside: list[bool]) -> Callable:
    @wraps(function)
    def call(*args, **kwargs):
        if is_inside:
            return function(*args, **kwargs)
        is_inside.append(True)
        try:
            with part(label):
                return function(*args, **kwargs)
        finally:
            is_inside.pop()

    return call
