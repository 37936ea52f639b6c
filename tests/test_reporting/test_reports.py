"""Tables, curves and pages from what runs have logged."""

import json
import os
import re
import runpy

import numpy as np
import pytest
import torch
from PIL import Image

from projects.mask_caption_sft.loop.objectives import BestOfK, SegmentCaptions
from projects.mask_caption_sft.reporting.html_report import CHARTS, html_report
from projects.mask_caption_sft.reporting.run_log import pictures, read_run
from projects.mask_caption_sft.reporting.run_record import RunRecord
from projects.mask_caption_sft.reporting.study import plot_curves, results_table
from tests.miniature import miniature_batch, miniature_model, objectives


def write_run(folder, iou: float, loss: float = 1.0, cycle: str = 'mask_cycle'):
    """A work dir as MMEngine leaves it: two validations, two training rows, two pictures."""
    data = folder / '20261124_000000' / 'vis_data'
    (data / 'vis_image').mkdir(parents=True)
    rows = [
        {f'{cycle}/second_view_iou': 0.3, f'{cycle}/shuffled_iou': 0.2, f'{cycle}/counted': 7, 'step': 0},
        {'loss': loss, 'loss_iou': 0.5, 'lr': 1e-4, 'signal/caption_iou': 0.3, 'step': 10},
        {'loss': loss / 2, 'loss_iou': 0.25, 'lr': 1e-4, 'signal/caption_iou': 0.5, 'step': 20},
        {f'{cycle}/second_view_iou': iou, f'{cycle}/shuffled_iou': 0.2, f'{cycle}/counted': 7, 'step': 20},
    ]
    (data / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    (data / 'config.py').write_text('model = dict(a="<b>")\n')
    for step in (0, 20):
        Image.fromarray(np.full((8, 8, 3), step, np.uint8)).save(data / 'vis_image' / f'samples_{step}.png')
    return folder


def test_training_and_validation_rows_are_told_apart(tmp_path):
    log = read_run(write_run(tmp_path, 0.5))
    assert (sorted(log.train), sorted(log.val)) == ([10, 20], [0, 20])
    assert log.curve('loss') == ([10, 20], [1.0, 0.5])
    assert (log.first_val['mask_cycle/second_view_iou'], log.last_val['mask_cycle/second_view_iou']) == (
        0.3,
        0.5,
    )
    assert [path.name for path in pictures(tmp_path)] == ['samples_0.png', 'samples_20.png']


def test_a_resumed_runs_rows_go_on_after_the_first(tmp_path):
    write_run(tmp_path, 0.5)
    data = tmp_path / '20261125_000000' / 'vis_data'
    data.mkdir(parents=True)
    (data / 'scalars.json').write_text(json.dumps({'loss': 7.0, 'lr': 1e-4, 'step': 20}))
    assert read_run(tmp_path).curve('loss') == ([10, 20], [1.0, 7.0])


def test_names_below_train_and_val_are_the_same_values(tmp_path):
    before = read_run(write_run(tmp_path / 'before', 0.5))
    path = next(write_run(tmp_path / 'now', 0.5).rglob('scalars.json'))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    renamed = [
        {
            name if name == 'step' else f'{"train" if "loss" in row else "val"}/{name}': row[name]
            for name in row
        }
        for row in rows
    ]
    path.write_text('\n'.join(map(json.dumps, renamed)))
    now = read_run(tmp_path / 'now')
    assert (now.train, now.val) == (before.train, before.val)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'holds no \*/vis_data/scalars\.json. Train first'):
        read_run(tmp_path)


def test_the_table_gives_mean_and_spread_over_seeds(tmp_path):
    logs = [read_run(write_run(tmp_path / str(seed), iou)) for seed, iou in enumerate((0.4, 0.5, 0.6))]
    lines = results_table({'(d) full loop': logs}).splitlines()
    assert lines[2].startswith('| base, before training | 1 | 0.300 |')
    assert lines[3].startswith('| (d) full loop | 3 | 0.500 ± 0.100 |')


def test_runs_that_were_measured_otherwise_have_a_row_that_says_so(tmp_path):
    """Their metrics have another name, and their mean with the others would be of two measurements."""
    runs = [('mask_cycle', 0.4), ('mask_cycle_given', 0.5), ('mask_cycle_given', 0.6),
            ('mask_cycle_best_of_4', 0.7), ('mask_cycle_best_of_8_given', 0.8)]  # fmt: skip
    logs = [read_run(write_run(tmp_path / f'{cycle}{iou}', iou, cycle=cycle)) for cycle, iou in runs]
    lines = results_table({'full': logs, 'given': logs[1:3]}).splitlines()[3:]
    assert [line.split(' | ')[:3] for line in lines] == [
        ['| full', '1', '0.400'],
        ['| full, answers given', '2', '0.550 ± 0.071'],
        ['| full, best of 4 captions', '1', '0.700'],
        ['| full, best of 8 captions, answers given', '1', '0.800'],
        ['| given, answers given', '2', '0.550 ± 0.071'],
    ]
    assert (
        results_table({'given': logs[1:]})
        .splitlines()[2]
        .startswith('| base, before training, answers given | 1 | 0.300 |')
    )


OTHERWISE = {
    'mask_cycle': '',
    'mask_cycle_given': 'answers given',
    'mask_cycle_best_of_4': 'best of 4 captions',
    'mask_cycle_best_of_16_given': 'best of 16 captions, answers given',
}


@pytest.mark.parametrize('cycle', OTHERWISE)
def test_the_quickstarts_table_shows_every_measurement_and_says_which(tmp_path, cycle, monkeypatch, capsys):
    monkeypatch.syspath_prepend('tools')
    monkeypatch.setattr('sys.argv', ['quickstart_table.py', str(write_run(tmp_path, 0.5, cycle=cycle))])
    runpy.run_path('tools/quickstart_table.py', run_name='__main__')
    output = capsys.readouterr().out
    assert re.search(r"mask -> caption -> mask' IoU +0\.300 +0\.500\n", output)
    assert 'held-out regions: 7' in output
    assert output.splitlines()[1] == f'{OTHERWISE[cycle]:<36}   before    after'


@pytest.mark.parametrize('name', ['loss_best', 'loss_weighted'])
def test_the_quickstarts_table_shows_the_loss_that_teaches(tmp_path, name, monkeypatch, capsys):
    path = next(write_run(tmp_path, 0.5).rglob('scalars.json'))
    path.write_text(path.read_text().replace('"loss_iou"', f'"{name}"'))
    monkeypatch.syspath_prepend('tools')
    monkeypatch.setattr('sys.argv', ['quickstart_table.py', str(tmp_path)])
    runpy.run_path('tools/quickstart_table.py', run_name='__main__')
    assert re.search(rf'^{name} +0\.500 +0\.250$', capsys.readouterr().out, re.M)


@pytest.mark.parametrize('cycle', ['mask_cycle_given', 'mask_cycle_best_of_4'])
def test_the_page_draws_the_curves_of_every_measurement(tmp_path, cycle):
    page = html_report(read_run(write_run(tmp_path, 0.5, cycle=cycle)))
    assert f'alt="{cycle}/second_view_iou, {cycle}/shuffled_iou"' in page


def test_every_signal_that_training_logs_has_a_chart():
    selection = objectives(best_of_k=BestOfK(), segment_captions=SegmentCaptions())
    model = miniature_model(objectives=selection, num_captions=2, max_caption_len=3).train()
    logged = {name for name in model.loss(miniature_batch()) if name.startswith('signal/')}
    drawn = {name for names in CHARTS.values() for name in names if name.startswith('signal/')}
    assert drawn == logged


def test_the_plot_is_a_picture(tmp_path):
    logs = [read_run(write_run(tmp_path / 'run', 0.5))]
    plot_curves({'one': logs, 'none': []}, 'signal/caption_iou', tmp_path / 'curves.png')
    assert Image.open(tmp_path / 'curves.png').width > 500


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(tmp_path):
    page = html_report(read_run(write_run(tmp_path, 0.5)))
    sources = re.findall(r'src="([^"]{0,30})', page)
    assert len(sources) >= 5  # losses, the cycle, the signals, two pictures
    assert all(source.startswith('data:image/png;base64,') for source in sources)
    assert not re.search(r'(href|src)="https?:', page)
    for text in (
        'mask_cycle/second_view_iou',
        '0.300',
        '0.500',
        'a=&#34;&lt;b&gt;&#34;',
        'iter 20',
    ):
        assert text in page, text


def test_counts_are_whole_numbers(tmp_path):
    page = html_report(read_run(write_run(tmp_path, 0.5)))
    assert '<td>mask_cycle/counted</td><td>7</td><td>7</td>' in page


def test_the_page_shows_where_the_run_was_made_not_where_the_page_is(tmp_path):
    folder = write_run(tmp_path, 0.5) / '20261124_000000'
    assert 'Not recorded' in html_report(read_run(tmp_path))
    assert torch.__version__ not in html_report(read_run(tmp_path))
    record = RunRecord(
        command='python tools/train.py <x>', commit='0123456789ab-dirty', started=1e9, ended=1e9 + 3723,
        environment={'GPU 0': 'a card of that machine'}, named=['cut'],
    )  # fmt: skip
    record.save(folder)
    page = html_report(read_run(tmp_path))
    for text in (
        '0123456789ab-dirty',
        'train.py &lt;x&gt;',
        'GPU 0: a card of that machine',
        '<td>1h02m</td>',
    ):
        assert text in page, text
    assert 'Signs of cheating while it trained, gone at the end: cut.' in page


def test_a_start_that_was_killed_ends_with_its_log(tmp_path):
    folder = write_run(tmp_path, 0.5) / '20261124_000000'
    RunRecord(started=1e9).save(folder)
    (folder / '20261124_000000.log').touch()
    os.utime(folder / '20261124_000000.log', (1e9 + 60, 1e9 + 60))
    assert '<td>1m00s, not ended</td>' in html_report(read_run(tmp_path))
    (folder / 'run.json').write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r'run\.json is not the record of a run .*Delete it'):
        html_report(read_run(tmp_path))
