"""Torch's random numbers for a while, depending on a key and on nothing else."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_seed(device: torch.device, *key: str) -> Iterator[None]:
    """Inside, torch's generators are seeded by ``key``; afterwards CPU and ``device`` go on as before.

    Args:
        device: Where random numbers are drawn.
        key: Names; another order is another key.
    """
    digest = hashlib.sha256('\n'.join(key).encode()).digest()
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        torch.manual_seed(int.from_bytes(digest[:8], 'little'))
        yield
