"""A run as one self-contained HTML page."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from mmengine.utils.dl_utils import collect_env

from .run_log import RunLog, pictures

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
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto }
img { max-width: 100%; display: block; margin: .5em 0 }
table { border-collapse: collapse }
td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } pre { background: #f5f5f5; padding: 1em; overflow: auto }
"""


def html_report(log: RunLog) -> str:
    """Curves, the controls, samples from start, middle and end, the config and the environment.

    Nothing is loaded from elsewhere: pictures are part of the page.
    """
    parts = [f'<h1>{html.escape(str(log.work_dir))}</h1>', _validation_table(log)]
    losses = sorted({name for row in log.train.values() for name in row if name.startswith('loss')})
    for title, names in {'Losses': losses, **CHARTS}.items():
        chart = _chart(log, names)
        parts += [f'<h2>{html.escape(title)}</h2>', chart] if chart else []
    parts += _samples(log)
    parts += ['<h2>Config</h2>', _pre(_config(log.work_dir)), '<h2>Environment</h2>', _pre(_environment())]
    head = f'<meta charset="utf-8"><title>{html.escape(log.work_dir.name)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html><head>{head}</head><body>{"".join(parts)}</body></html>'


def _validation_table(log: RunLog) -> str:
    if not log.val:
        return '<p>No validation was run.</p>'
    steps = sorted(log.val)
    shown = [steps[0], steps[-1]] if len(steps) > 1 else steps
    names = [n for n in log.val[shown[-1]] if '/' in n]
    header = ''.join(f'<th>iter {step}</th>' for step in shown)
    rows = ''.join(
        f'<tr><td>{html.escape(name)}</td>'
        + ''.join(f'<td>{log.val[step].get(name, float("nan")):.3f}</td>' for step in shown)
        + '</tr>'
        for name in names
    )
    return f'<h2>Validation</h2><table><tr><th></th>{header}</tr>{rows}</table>'


def _chart(log: RunLog, names: Sequence[str]) -> str:
    from matplotlib.figure import Figure

    curves = {n: log.curve(n) for name in names for n in log.logged_names(name)}
    curves = {name: curve for name, curve in curves.items() if curve[0]}
    if not curves:
        return ''
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    axes = figure.subplots()
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, marker='.' if len(steps) < 12 else '')
    axes.set_xlabel('iter')
    axes.legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=100)
    return _image(buffer.getvalue(), ', '.join(curves))


def _samples(log: RunLog) -> list[str]:
    parts = []
    for name, title in (('samples', 'Held-out samples'), ('train_samples', 'Training samples')):
        found = pictures(log.work_dir, name)
        if not found:
            continue
        chosen = sorted({0, len(found) // 2, len(found) - 1})
        parts.append(f"<h2>{title}: image1 + mask1, caption, image2 + mask'</h2>")
        for path in (found[i] for i in chosen):
            parts += [f'<h3>iter {path.stem.rsplit("_", 1)[1]}</h3>', _image(path.read_bytes(), path.name)]
    return parts


def _config(work_dir: Path) -> str:
    files = sorted(work_dir.glob('*/vis_data/config.py'))
    return files[-1].read_text() if files else 'not found'


def _environment() -> str:
    return '\n'.join(f'{name}: {value}' for name, value in collect_env().items())


def _pre(text: str) -> str:
    return f'<pre>{html.escape(text)}</pre>'


def _image(content: bytes, description: str) -> str:
    data = base64.b64encode(content).decode('ascii')
    return f'<img alt="{html.escape(description)}" src="data:image/png;base64,{data}">'
