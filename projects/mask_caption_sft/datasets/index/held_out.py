"""Which records are held out for validation."""

import hashlib
from collections.abc import Sequence

import numpy as np


def held_out(groups: Sequence[str], share: float) -> np.ndarray:
    """``[N]`` bool: whether each record is held out. All records of a group are, or none is.

    A group's name alone decides, so that it stays on its side when others are added. Of two groups or more,
    at least one is held out and at least one is not.

    Args:
        groups: Name of each record's group: of its image, or of its video.
        share: Of the groups, about; in (0, 1).
    """
    names, group_of = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    place = np.array([_place(name) for name in names.tolist()])
    chosen = place < share
    if len(names) > 1:
        chosen[place.argmin()], chosen[place.argmax()] = True, False
    return chosen[group_of]


def _place(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    digest = hashlib.blake2b(name.encode(errors='surrogateescape'), digest_size=8).digest()
    return int.from_bytes(digest, 'big') / 2**64
