"""A part of some work, for one of several machines or shells."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``.

    Raises:
        ValueError: The number is not in 1..count.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(
                f'shard {self.number}/{self.count}: the number has to be from 1 to {self.count}.'
            )

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """From ``I/N``, from 1 on: ``$((SLURM_ARRAY_TASK_ID + 1))/8`` for one."""
        number, slash, count = text.partition('/')
        if not (slash and number.strip().isdigit() and count.strip().isdigit()):
            raise ValueError(f'--shard {text!r} is not I/N, 1/8 for the first of eight.')
        return cls(int(number), int(count))

    @property
    def name(self) -> str:
        """For files: ``2-of-8``."""
        return f'{self.number}-of-{self.count}'

    def rows(self, total: int) -> range:
        """The shard's part of ``range(total)``: one run; the shards' runs follow each other."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)


def all_shards(count: int) -> list[Shard]:
    """The shards that make up the whole."""
    return [Shard(number, count) for number in range(1, count + 1)]


def check_all_there(shards: Iterable[Shard], is_there: Callable[[Shard], bool], what: str) -> None:
    """Raise ``ValueError`` that names the shards which have not been finished.

    Args:
        shards: All of them.
        is_there: Whether one is finished.
        what: Of which they are parts.
    """
    chosen = list(shards)
    missing = [f'{s.number}/{s.count}' for s in chosen if not is_there(s)]
    if missing:
        raise ValueError(
            f'{what}: {len(missing)} of {len(chosen)} shards are missing or not finished: '
            f'{", ".join(missing)}. Run each with --shard {missing[0]} and so on; it goes on where it '
            'stopped. Then merge again.'
        )
