"""One line per interval that fits a terminal; everything else goes to the log file, JSON and TensorBoard."""

from itertools import pairwise
from typing import Any

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner

from ..ops.metric_names import measured_how, own_name
from .console import LogText

#: Heading of a column = what was logged in training.
TRAINING = {'loss': 'loss', 'cycle': 'signal/caption_iou', 'shuffled': 'signal/shuffled_iou'}
#: Of the last validation.
HUMAN = {'human cIoU': 'ref_seg/cIoU'}
GATE = {'gate': 'signal/gate_open_ratio'}
VALIDATION = {
    'cycle': 'mask_cycle/second_view_iou', 'shuffled': 'mask_cycle/shuffled_iou',
    'blank': 'mask_cycle/blank_iou', 'cIoU': 'ref_seg/cIoU', 'true': 'truth/true',
}  # fmt: skip
#: Lines after which the headings are printed again.
_REPEAT = 20


@LOG_PROCESSORS.register_module()
class ShortLines(LogProcessor):
    """MMEngine's ``LogProcessor``, whose texts have a short form for the terminal (:class:`LogText`).

    In training a table of which each interval is a line: the iteration, the time that is left, the loss,
    the IoU from the student's captions and from shuffled ones, cIoU of human expressions in the last
    validation, the share of captions that pass the gate, and memory (of the GPU; without one of the process).
    Only what a run measures has a column. A validation is a line too, a test one line per metric.

    Args:
        kwargs: See ``LogProcessor``; values are logged below ``train/`` and ``val/``.
    """

    def __init__(self, log_with_hierarchy: bool = True, **kwargs: Any) -> None:
        super().__init__(log_with_hierarchy=log_with_hierarchy, **kwargs)
        self._headings: list[str] = []
        self._num_lines = 0

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """As the parent, with a short form of the text."""
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        eta = runner.message_hub.runtime_info.get('eta')
        left = '-' if eta is None else duration(eta)
        if mode != 'train':
            printed = f'{mode} {batch_idx + 1}/{self._get_dataloader_size(runner, mode)}  {left} left'
            return tag, LogText(text, printed)
        cells = {'iteration': f'{runner.iter + 1}/{runner.max_iters}', 'left': left}
        logged, before = _plain(tag, mode), _last_validation(runner)
        for names, values in ((TRAINING, logged), (HUMAN, before), (GATE, logged)):
            cells |= {title: f'{values[name]:.3f}' for title, name in names.items() if name in values}
        megabytes = logged.get('memory', logged.get('host_memory_mb'))
        if megabytes is not None:
            cells['memory'] = f'{megabytes / 1024:.1f} GiB'
        return tag, LogText(text, self._table(cells))

    def _table(self, cells: dict[str, str]) -> str:
        """A line of the table, below the headings where they are due."""
        widths = [{'iteration': 13, 'memory': 9}.get(title, max(len(title), 7)) for title in cells]
        line = ' '.join(cell.rjust(width) for cell, width in zip(cells.values(), widths))
        if list(cells) != self._headings or self._num_lines % _REPEAT == 0:
            self._headings, self._num_lines = list(cells), 0
            line = ' '.join(title.rjust(width) for title, width in zip(cells, widths)) + '\n' + line
        self._num_lines += 1
        return line

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict, str]:
        """As the parent, with a short form of the text."""
        tag, text = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        scores = _plain(tag, mode)
        if mode == 'test':
            return tag, LogText(text, '\n'.join(f'{name:<40}{_rounded(scores[name])}' for name in scores))
        self._headings = []  # the table goes on below a line that is not part of it
        own = {own_name(name): value for name, value in scores.items()}
        parts = [f'{title} {own[name]:.3f}' for title, name in VALIDATION.items() if name in own]
        how = measured_how(scores)
        start = f'validation, {how}:\n ' if how else 'validation:'
        return tag, LogText(text, f'{start} {", ".join(parts) or "see the log file"}')


def _plain(tag: dict[str, Any], mode: str) -> dict[str, Any]:
    """Names without the mode that they begin with."""
    return {name.removeprefix(f'{mode}/'): value for name, value in tag.items()}


def _last_validation(runner: Runner) -> dict[str, float]:
    logged = runner.message_hub.log_scalars.items()
    return {
        own_name(name.removeprefix('val/')): buffer.current()
        for name, buffer in logged
        if name.startswith('val/')
    }


def _rounded(value: Any) -> str:
    return f'{value:.4f}'.rstrip('0').rstrip('.') if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """``'48s'``, ``'3m12s'``, ``'5d03h'``: the two largest units."""
    units = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)]
    seconds = int(seconds)
    for (large, size), (small, part) in pairwise(units):
        if seconds >= size:
            return f'{seconds // size}{large}{seconds % size // part:02}{small}'
    return f'{seconds}s'
