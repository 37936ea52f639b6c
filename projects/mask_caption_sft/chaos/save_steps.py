"""The steps of a save, and what is to happen in one of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class SaveSteps:
    """Calls ``act(number, name)`` before each step of each save, and half-way through a write.

    A save begins with ``torch.save``. What it then does to files it does through ``Path.write_bytes``,
    ``os.fsync``, ``os.replace`` and ``Path.unlink``; these are wrapped for the rest of the process, and the
    steps are those that are made, not those that someone once wrote down.

    Args:
        act: Gets the number of a step within its save, from 1, and what comes next, in words.
    """

    def __init__(self, act: Callable[[int, str], None]) -> None:
        self.act = act
        self.number: int | None = None

    def install(self) -> None:
        """Wrap the five functions; there is no way back."""
        save, write, flush, rename, delete = (
            torch.save, Path.write_bytes, os.fsync, os.replace, Path.unlink,
        )  # fmt: skip

        def watched_save(*args: Any, **kwargs: Any) -> None:
            self.number = 0
            self._step('serialise')
            save(*args, **kwargs)

        def watched_write(path: Path, content: bytes) -> int:
            self._step(f'write {_kind(path)}')
            write(path, content[: len(content) // 2])
            self._step(f'write the second half of {_kind(path)}')
            return write(path, content)

        def watched_flush(descriptor: int) -> None:
            self._step(f'flush {_kind(Path(os.readlink(f"/proc/self/fd/{descriptor}")))}')
            flush(descriptor)

        def watched_rename(source: Any, target: Any, **kwargs: Any) -> None:
            self._step(f'rename {_kind(Path(target))}')
            rename(source, target, **kwargs)

        def watched_delete(path: Path, missing_ok: bool = False) -> None:
            if path.exists():
                self._step(f'delete {_kind(path)}')
            delete(path, missing_ok)

        torch.save = watched_save
        Path.write_bytes = watched_write  # type: ignore[assignment]
        os.fsync, os.replace = watched_flush, watched_rename  # type: ignore[assignment]
        Path.unlink = watched_delete  # type: ignore[assignment, method-assign]

    def _step(self, name: str) -> None:
        if self.number is not None:  # before the first save nothing is a step of one
            self.number += 1
            self.act(self.number, name)


def _kind(path: Path) -> str:
    if path.is_dir():
        return 'the folder'
    return 'the checkpoint' if 'iter_' in path.name else 'the pointer'
