"""A few of a language model's layers, which are alike, stand for all of them."""

from dataclasses import dataclass

#: Built of a kind: one that runs, and one that stands for those that do not.
_OF_A_KIND = 2


@dataclass(frozen=True)
class Layers:
    """The layers of a language model.

    Attributes:
        number: How many there are.
        recomputed: How many of them run again in the backward pass, the first ones; the others keep
            everything.
    """

    number: int
    recomputed: int

    def kinds(self) -> list[tuple[int, range]]:
        """For each kind that there is, how many layers are of it, and the numbers of those that are built.

        The last layer is a kind of its own: most of it is left out, see ``sa2va.trunk``.
        """
        kinds, start = [], 0
        first = min(self.recomputed, self.number - 1)
        for count in (first, self.number - 1 - first, 1):
            built = range(start, start + min(count, _OF_A_KIND))
            start = built.stop
            if count:
                kinds.append((count, built))
        return kinds

    @property
    def num_built(self) -> int:
        """How many are built."""
        return self.kinds()[-1][1].stop

    @property
    def share_of_built(self) -> float:
        """``activation_checkpointing`` of a model that has only the layers that are built."""
        if self.recomputed == self.number:
            return 1.0
        return min(self.recomputed, _OF_A_KIND) / self.num_built
