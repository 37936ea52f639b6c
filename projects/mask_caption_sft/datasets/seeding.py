"""Random numbers that depend on a key and on nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def numpy_seed(*key: int) -> Iterator[None]:
    """NumPy's global random state seeded by ``key``, and restored afterwards.

    mmcv's transforms draw from the global state; a record drawn under the same key
    is the same on any worker, in any order, and after a resume.

    Args:
        key: Integers; each is taken modulo 2^32.
    """
    state = np.random.get_state()
    np.random.seed([number % 2**32 for number in key])
    try:
        yield
    finally:
        np.random.set_state(state)
