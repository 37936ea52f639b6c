"""A run as one self-contained HTML page."""

import base64
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..engine.short_lines import duration
from ..loop.cheat_signs import CheatLimits
from .run_log import RunLog, pictures
from .run_record import RunRecord, read_records
from .verdict import verdict

#: Charts, apart from the training losses: title and the logged names that they show. Those of a
#: validation of another kind appear under their own names, ``ref_seg_given/cIoU`` for example.
CHARTS = {
    'Mask -> caption -> mask\', with its controls': [
        'mask_cycle/second_view_iou', 'mask_cycle/same_view_iou', 'mask_cycle/shuffled_iou',
        'mask_cycle/blank_iou', 'mask_cycle/confuser_accuracy',
    ],
    'Expression -> mask': ['ref_seg/cIoU', 'ref_seg/mIoU', 'ref_seg/P@0.5'],
    'Signs of cheating, while training': [
        'signal/caption_iou', 'signal/same_view_iou', 'signal/shuffled_iou', 'signal/blank_iou',
        'signal/bridge_iou',
    ],
    'What the captions teach, while training': [
        'signal/taught_ratio', 'signal/best_iou_gain', 'signal/empty_best_ratio', 'signal/gate_open_ratio',
    ],
    'The captions, while training': [
        'signal/distinct_1', 'signal/distinct_2', 'signal/top_caption_share', 'signal/banned_rate',
        'signal/cut_ratio', 'signal/twins_differ_ratio',
    ],
    'Their length in tokens, while training': ['signal/caption_len'],
    'Their distance from the start (KL), while training': ['signal/kl'],
}  # fmt: skip
#: Names that end so are numbers of something, not scores.
_COUNTS = ('counted', 'invalid')
_TEMPLATE = 'report.html.j2'


def html_report(log: RunLog) -> str:
    """Verdict, how the run was made, curves, controls, samples from start, middle and end, and the config.

    Nothing is loaded from elsewhere: pictures are part of the page. What is said of commands, commits and
    environments was saved by the run; the machine that makes the page is not looked at.
    """
    records = read_records(log.work_dir)
    limits = CheatLimits(**records[-1].limits) if records else None
    named = sorted({sign for record in records for sign in record.named})
    losses = sorted({name for row in log.train.values() for name in row if name.startswith('loss')})
    charts = [_chart(log, title, names) for title, names in {'Losses': losses, **CHARTS}.items()]
    steps = sorted(log.val)
    loader = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(_TEMPLATE)
    return template.render(
        name=log.work_dir.name,
        work_dir=str(log.work_dir),
        verdict=verdict(log, limits, named),
        starts=[_start(record) for record in records],
        steps=steps[:: max(1, len(steps) - 1)],
        tables=_validation_tables(log),
        charts=[chart for chart in charts if chart],
        samples=_samples(log),
        config=_config(log.work_dir),
        environment=_environment(records),
    )


def _start(record: RunRecord) -> dict[str, str]:
    """One start of the run; how long one took that did not come to its end, its log says."""
    started = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.started))
    ended = record.ended or record.logged or record.started
    took = duration(max(0.0, ended - record.started)) + ('' if record.ended else ', not ended')
    return dict(started=started, duration=took, commit=record.commit, command=record.command)


def _validation_tables(log: RunLog) -> list[list[dict[str, Any]]]:
    """The first and the last validation, side by side; a table for each metric, as ``ref_seg/...``."""
    if not log.val:
        return []
    shown = [log.first_val, log.last_val] if len(log.val) > 1 else [log.last_val]
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in log.last_val:
        metric, is_score, _ = name.partition('/')
        if is_score:
            cells = [_cell(name, val.get(name)) for val in shown]
            tables.setdefault(metric, []).append(dict(name=name, cells=cells))
    return list(tables.values())


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return '-'
    return f'{value:.0f}' if name.endswith(_COUNTS) else f'{value:.3f}'


def _chart(log: RunLog, title: str, names: Sequence[str]) -> dict[str, str] | None:
    from matplotlib.figure import Figure

    curves = {n: log.curve(n) for name in names for n in log.logged_names(name)}
    curves = {name: curve for name, curve in curves.items() if curve[0]}
    if not curves:
        return None
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    axes = figure.subplots()
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, marker='.' if len(steps) < 12 else '')
    axes.set_xlabel('iter')
    axes.legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    return dict(title=title, alt=', '.join(curves), data=_encoded(buffer.getvalue()))


def _samples(log: RunLog) -> list[dict[str, Any]]:
    groups = []
    for name, title in (('samples', 'Held-out samples'), ('train_samples', 'Training samples')):
        found = pictures(log.work_dir, name)
        chosen = sorted({0, len(found) // 2, len(found) - 1}) if found else []
        drawn = [
            dict(step=path.stem.rsplit('_', 1)[1], name=path.name, data=_encoded(path.read_bytes()))
            for path in (found[i] for i in chosen)
        ]
        groups += [dict(title=title, pictures=drawn)] if drawn else []
    return groups


def _config(work_dir: Path) -> str:
    files = sorted(work_dir.glob('*/vis_data/config.py'))
    return files[-1].read_text() if files else 'not found'


def _environment(records: Sequence[RunRecord]) -> str:
    """Of the last start."""
    if not records:
        return 'not recorded'
    return '\n'.join(f'{name}: {value}' for name, value in records[-1].environment.items())


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode('ascii')
