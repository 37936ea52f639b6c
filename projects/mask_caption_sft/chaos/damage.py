"""Ways in which a checkpoint and its pointer get lost on a disk."""

from collections.abc import Callable
from pathlib import Path

import torch

from ..hooks.trained_checkpoint_hook import POINTER


def cut(path: Path) -> None:
    """Its last 100 bytes are missing."""
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    """A file of no bytes."""
    path.write_bytes(b'')


def missing(path: Path) -> None:
    """No file."""
    path.unlink()


def flipped(path: Path) -> None:
    """One bit of one weight is another than it was written; ``torch.load`` reads it without a word."""
    weights = torch.load(path, weights_only=True)['state_dict'].values()
    raw = max(weights, key=torch.Tensor.numel).contiguous().numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(raw)] ^= 1
    path.write_bytes(content)


def another_file(path: Path) -> None:
    """A whole file of tensors, but no checkpoint of a run."""
    torch.save({'a': torch.zeros(3)}, path)


def pointer_empty(path: Path) -> None:
    """``last_checkpoint`` of no bytes."""
    (path.parent / POINTER).write_bytes(b'')


def pointer_gone(path: Path) -> None:
    """No ``last_checkpoint``."""
    (path.parent / POINTER).unlink()


def pointer_to_nowhere(path: Path) -> None:
    """``last_checkpoint`` names a file that is not there, as where a work dir has moved."""
    (path.parent / POINTER).write_text('/nowhere/iter_999.pth')


#: The newest checkpoint is lost.
OF_THE_FILE: tuple[Callable[[Path], None], ...] = (cut, empty, missing, flipped, another_file)
#: The newest checkpoint is whole.
OF_THE_POINTER: tuple[Callable[[Path], None], ...] = (pointer_empty, pointer_gone, pointer_to_nowhere)
