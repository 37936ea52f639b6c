"""Several configs, several seeds: one table and one plot."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from ..ops.markdown import markdown_table
from ..ops.metric_names import measured_how
from .run_log import RunLog, logged_as

COLUMNS = {
    'second view': 'mask_cycle/second_view_iou',
    'same view': 'mask_cycle/same_view_iou',
    'shuffled': 'mask_cycle/shuffled_iou',
    'blank': 'mask_cycle/blank_iou',
    'picked': 'mask_cycle/confuser_accuracy',
    'cIoU': 'ref_seg/cIoU',
    'mIoU': 'ref_seg/mIoU',
    'CIDEr': 'region_caption/CIDEr',
    'words': 'mask_cycle/caption_len',
    'top share': 'mask_cycle/top_caption_share',
    'true': 'truth/true',
    'unambiguous': 'truth/unambiguous',
    'code': 'truth/code',
    'attributes': 'truth/attributes',
    'recall, unsaid': 'truth/recall_unsaid',
    'recall, unheard': 'truth/recall_unheard',
    'recall, taught': 'truth/recall_taught',
    'cIoU, unheard': 'ref_seg_unheard/cIoU',
    'cIoU, heard': 'ref_seg_heard/cIoU',
}


def results_table(runs: dict[str, Sequence[RunLog]]) -> str:
    """Mean and standard deviation over seeds after training, as Markdown; the base in the first row.

    Runs whose validation kept the best of several captions, or gave the answers, have a row of their own that
    says so: these are other measurements.

    Args:
        runs: Title -> one log per seed.
    """
    before = [log.first_val for logs in runs.values() for log in logs][:1]
    rows = _rows('base, before training', before)
    for title, logs in runs.items():
        rows += _rows(title, [log.last_val for log in logs])
    return markdown_table(['', 'seeds', *COLUMNS], rows)


def _rows(title: str, vals: Sequence[dict[str, float]]) -> list[list[str]]:
    """A row for plain validations and one for each other way of measuring, where there are any."""
    ways = sorted({measured_how(val) for val in vals})
    return [
        _row(f'{title}, {how}' if how else title, [val for val in vals if measured_how(val) == how])
        for how in ways
    ]


def _row(title: str, vals: Sequence[dict[str, float]]) -> list[str]:
    names = [[logged_as(name, val) for val in vals] for name in COLUMNS.values()]
    cells = [_cell([val[n] for n, val in zip(row, vals) if n in val]) for row in names]
    return [title, str(len(vals)), *cells]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return '-'
    mean = statistics.fmean(values)
    return f'{mean:.3f}' if len(values) == 1 else f'{mean:.3f} ± {statistics.stdev(values):.3f}'


def plot_curves(runs: dict[str, Sequence[RunLog]], name: str, path: str | Path, window: int = 3) -> None:
    """The mean over seeds of one logged value, smoothed over ``window`` rows, one line per title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout='constrained')
    axes = figure.subplots()
    for title, logs in runs.items():
        curves = [log.curve(name) for log in logs]
        length = min((len(values) for _, values in curves), default=0)
        if not length:
            continue
        means = [statistics.fmean(values[i] for _, values in curves) for i in range(length)]
        smooth = [statistics.fmean(means[max(0, i + 1 - window) : i + 1]) for i in range(length)]
        axes.plot(curves[0][0][:length], smooth, label=title)
    axes.set_xlabel('update')
    axes.set_ylabel(name)
    figure.legend(loc='outside right upper', fontsize='small')
    figure.savefig(path, dpi=90)
