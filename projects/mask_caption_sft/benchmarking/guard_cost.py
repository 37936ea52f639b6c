"""What the guard before an update and the checksums of a checkpoint cost, in processor time of one thread."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

import torch

from ..engine.guarded_step import GuardedOptimWrapper
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..ops.markdown import markdown_table
from ..structures import RegionBatch


@dataclass
class GuardCost:
    """Milliseconds, one entry each time.

    Attributes:
        updates: Whole updates: losses, backward pass, guard, optimizer.
        guard: The guard's part of them.
        saves, bare_saves: Checkpoints written with and without checksums.
        save_bytes: Size of one.
    """

    updates: list[float]
    guard: list[float]
    saves: list[float]
    bare_saves: list[float]
    save_bytes: int

    def table(self) -> str:
        """Markdown: medians, and what part of an update they are."""
        update, checksums = median(self.updates), median(self.saves) - median(self.bare_saves)
        rows = [
            ('an update', update),
            ('the guard before it', median(self.guard)),
            (f'a save of {self.save_bytes / 1e6:.1f} MB', median(self.saves)),
            ('the checksums in it', checksums),
        ]
        cells = [(name, f'{ms:.2f}', f'{ms / update:.2%}') for name, ms in rows]
        return markdown_table(['', 'ms', 'of an update'], cells)


def guard_cost(
    model: MaskCaptionSFT, batch: RegionBatch, num_updates: int, num_saves: int, folder: Path
) -> GuardCost:
    """Make updates, then save what a checkpoint holds, with checksums and without in turns.

    Args:
        model: In train mode, on the CPU. It is trained.
        batch: Of every update.
        num_updates, num_saves: How many are measured, of each kind; a first one warms up.
        folder: Where saves go, over each other. In memory, or a disk's mood is measured.
    """
    wrapper = GuardedOptimWrapper(
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    )
    updates: list[float] = []
    guard: list[float] = []
    wrapper._judge = _timed(wrapper._judge, guard)  # type: ignore[method-assign]
    for _ in range(num_updates + 1):
        _timed(model.train_step, updates)({'batch': batch}, wrapper)
    content = dict(state_dict=model.state_dict(), optimizer=wrapper.optimizer.state_dict())
    path, saves, bare_saves = folder / 'guard_cost.pth', list[float](), list[float]()
    before = torch.serialization.get_crc32_options()
    try:
        for _ in range(num_saves + 1):
            for with_checksums, into in ((True, saves), (False, bare_saves)):
                torch.serialization.set_crc32_options(with_checksums)
                _timed(torch.save, into)(content, path)
        size = path.stat().st_size
    finally:
        torch.serialization.set_crc32_options(before)
        path.unlink(missing_ok=True)
    return GuardCost(updates[1:], guard[1:], saves[1:], bare_saves[1:], size)


def _timed(call: Callable, into: list[float]) -> Callable:
    def timed(*args: Any) -> Any:
        begin = thread_time()
        result = call(*args)
        into.append(1000 * (thread_time() - begin))
        return result

    return timed
