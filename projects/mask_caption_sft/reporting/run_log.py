"""The scalars of a run, read back from its work dir."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..ops.metric_names import own_name


@dataclass
class RunLog:
    """Rows by step; a resumed run's later rows replace the earlier ones of the same step.

    Attributes:
        work_dir: Where it was read from.
        train: ``{step: {name: value}}``.
        val: ``{step: {name: value}}``; step 0 is before training.
    """

    work_dir: Path
    train: dict[int, dict[str, float]] = field(default_factory=dict)
    val: dict[int, dict[str, float]] = field(default_factory=dict)

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one name, from training or validation rows."""
        rows = [
            (s, row[name])
            for rows in (self.train, self.val)
            for s, row in sorted(rows.items())
            if name in row
        ]
        return [step for step, _ in rows], [value for _, value in rows]

    def logged_names(self, name: str) -> list[str]:
        """The names under which a metric was logged, its own first: measurements of different kinds."""
        names = {logged for rows in (self.train, self.val) for row in rows.values() for logged in row}
        return sorted(logged for logged in names if own_name(logged) == name)

    @property
    def first_val(self) -> dict[str, float]:
        """The first validation."""
        return self.val[min(self.val)]

    @property
    def last_val(self) -> dict[str, float]:
        """The last validation."""
        return self.val[max(self.val)]


def read_run(work_dir: str | Path) -> RunLog:
    """All ``*/vis_data/scalars.json`` of a work dir, oldest first.

    Names begin with ``train/`` or ``val/`` there; runs of before that did so are read too.

    Raises:
        FileNotFoundError: There is none.
    """
    log = RunLog(Path(work_dir))
    files = sorted(log.work_dir.glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'{work_dir} holds no */vis_data/scalars.json. Train first: tools/train.py.')
    for path in files:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            is_val = not any(name in row for name in ('loss', 'lr', 'train/loss', 'train/lr'))
            prefix = 'val/' if is_val else 'train/'
            values = {name.removeprefix(prefix): value for name, value in row.items()}
            (log.val if is_val else log.train)[int(row['step'])] = values
    return log


def logged_as(name: str, row: Mapping[str, float]) -> str:
    """The name that a metric has in a validation, see ``ops.metric_names``."""
    return next((logged for logged in row if own_name(logged) == name), name)


def pictures(work_dir: str | Path, name: str = 'samples') -> list[Path]:
    """The pictures of that name, in the order of their steps."""
    found = Path(work_dir).glob(f'*/vis_data/vis_image/{name}_*.png')
    return sorted(found, key=lambda path: int(path.stem.rsplit('_', 1)[1]))
