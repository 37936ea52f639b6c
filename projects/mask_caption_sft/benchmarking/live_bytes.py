"""Memory as an allocator counts it, on any device: the bytes of tensors that live at the same time."""

import weakref
from collections import Counter
from collections.abc import Hashable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


class LiveBytes:
    """Adds up the storages that operations make, and takes them away when they are freed.

    On a GPU this is what ``torch.cuda.max_memory_allocated`` adds to what was there before, without the
    workspaces of single kernels. A process's resident memory would also hold what its allocator has not
    given back.

    Attributes:
        now, peak: Bytes.
        owner: Who makes the next storages.
        held: Bytes that live now, by their owner.
    """

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.owner: Hashable = None
        self.held: Counter[Hashable] = Counter()
        self._sizes: dict[int, tuple[Hashable, int]] = {}

    def note(self, result: Any, arguments: Any) -> None:
        """Count the new storages in an operation's result; views of its arguments are not new."""
        unknown = [tensor for tensor in _tensors(result) if _key(tensor) not in self._sizes]
        given = {_key(tensor) for tensor in _tensors(arguments)} if unknown else set()
        for tensor in unknown:
            if (key := _key(tensor)) not in given and key not in self._sizes:
                storage = tensor.untyped_storage()
                self._sizes[key] = self.owner, storage.nbytes()
                self.held[self.owner] += storage.nbytes()
                self.now += storage.nbytes()
                weakref.finalize(storage, self._forget, key)
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        owner, size = self._sizes.pop(key)
        self.held[owner] -= size
        self.now -= size


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
