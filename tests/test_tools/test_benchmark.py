"""The benchmark as a user calls it."""

import json
import sys

import benchmark
import pytest

from tests.workplace import ROOT, Workplace


@pytest.mark.slow
def test_it_prints_both_steps_and_writes_the_figures(tmp_path):
    settings = '--images 1 --regions 2 --tiles 1 --captions 2 --caption-len 2'
    tool = [sys.executable, str(ROOT / 'tools' / 'benchmark.py'), '--size', 'tiny', '--device', 'cpu']
    command = [*tool, '--pairs', '1', *settings.split(), '--json', 'figures.json']
    output = Workplace(tmp_path).call(*command).stdout
    assert (
        'tiny: 2 million weights, the frozen ones in float32; 2 regions in images of [1, 1] tiles' in output
    )
    assert '1 thread(s)' in output
    for name in (
        'seconds, median',
        'peak memory, MiB',
        'TFLOP recomputed',
        'tokens through the language model',
    ):
        assert f'| {name} |' in output
    assert (
        '| best_of_k / teacher.segment | 4 of 1 x ' in output
    )  # the plain step: two captions of two regions
    assert output.count('| part | share of the time |') == 2
    assert '| backward | ' in output
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures['settings']['dtype'] == 'float32'
    steps = figures['steps']
    assert figures['median_ratio'] == steps['plain']['seconds'][0] / steps['ours']['seconds'][0]
    for step in steps.values():
        assert step['tokens'] == sum(part['tokens'] for part in step['parts'].values())
        assert sum(step['part_seconds'][0].values()) == pytest.approx(step['seconds'][0], rel=0.05)
        assert 0 < step['weight_bytes'] < step['peak_memory_bytes']
    assert set(steps['ours']['parts']['student.look']['flops']) == {'ViT', 'SAM 2 encoder'}


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (
            '--size 4b --device cpu',
            '--size 4b needs a GPU, and the device is cpu. Run it where torch finds a GPU',
        ),
        ('--pairs 0', '--pairs 0 is less than 1.'),
        ('--caption-len 0', '--caption-len 0 is less than 1.'),
    ],
)
def test_what_cannot_be_measured_is_refused(given, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', *given.split()])
    with pytest.raises(SystemExit):
        benchmark.parse_args()
    assert message in ' '.join(capsys.readouterr().err.split())
