"""What a wrong word costs, as a user asks for it."""

import json
import shutil
import sys

import probe_listener
import pytest

from projects.mask_caption_sft.evaluation.word_probe.report import COLUMNS, shown
from tests.workplace import CONFIG, ROOT, Workplace, refusal

pytestmark = pytest.mark.slow
BASE = 'data/tiny_world/sa2va_tiny'


def call(place: Workplace, checkpoint: str, *args: str) -> tuple[str, list[list[str]], str]:
    """The heading, the table's cells, and stderr."""
    tool = str(ROOT / 'tools' / 'probe_listener.py')
    result = place.call(sys.executable, tool, str(CONFIG), checkpoint, *args)
    heading, empty, *lines = result.stdout.splitlines()
    assert empty == ''
    return heading, [line.strip('| ').split(' | ') for line in lines], result.stderr


def test_table_and_json_agree(workplace):
    heading, (columns, _, *rows), _ = call(workplace, BASE, '--words', 'tiny', '--out', 'probed/base.json')
    report = json.loads((workplace.folder / 'probed' / 'base.json').read_text())
    assert columns == list(COLUMNS)
    assert [name for name, *_ in rows] == ['colour', 'shape', 'size', 'place', 'all kinds']
    for name, *cells in rows:
        assert cells == [shown(report['kinds'][name][key]) for key in COLUMNS.values()], name
    assert heading.startswith(f'student of {BASE}, answers given; 2 images of refcoco_val, ')
    assert (
        f'{report["num_expressions"]} expressions, mIoU {report["mIoU"]:.3f}; words tiny, seed 0' in heading
    )
    assert report['settings']['checkpoint'] == BASE
    colour, place = (report['kinds'][kind] for kind in ('colour', 'place'))
    assert place['lost_deciding'] > 0.3
    words = [word for word in report['words'] if word['kind'] == 'colour']
    assert len(words) == colour['num_words'] > 0
    lost = [word['iou_true'] - word['iou_replaced'] for word in words]
    assert colour['lost'] == pytest.approx(sum(lost) / len(lost))
    assert {'word', 'wrong_word', 'expression', 'replaced', 'rivals', 'rival_after'} <= words[0].keys()


def test_a_runs_teacher_is_asked_with_a_list_of_ones_own(trained):
    (trained.folder / 'words.json').write_text(
        '{"hue": ["red", "blue", "green"], "taste": ["sweet", "sour"]}'
    )
    args = ['--words', 'words.json', '--max-images', '1', '--seed', '3']
    options = ['--cfg-options', 'model.predict_dtype=bfloat16']
    heading, (_, _, hue, taste, _), _ = call(trained, 'run/iter_4.pth', '--teacher', *args, *options)
    assert heading.startswith('teacher of run/iter_4.pth, answers given; 1 images of refcoco_val, ')
    assert 'words words.json, seed 3' in heading
    assert hue[0] == 'hue'
    assert int(hue[1]) > 0
    assert taste == ['taste', '0', '-', '-', '-', '0', *'------']


def test_an_image_that_cannot_be_read_is_named_and_left_out(workplace, tmp_path):
    shutil.copytree(workplace.folder / 'data', tmp_path / 'data')
    refs = tmp_path / 'data' / 'tiny_world' / 'refcoco'
    sorted(refs.rglob('*.jpg'))[-1].write_bytes(b'')  # of the two that are held out, the second
    _, (_, _, *rows), errors = call(Workplace(tmp_path), BASE, '--words', 'tiny')
    assert 'left out: data/tiny_world/refcoco/refs(unc).p#image 8: OSError: ' in errors
    assert int(rows[-1][1]) > 0


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none.pth'], 'error: none.pth does not exist.'),
        (
            [BASE, '--dataset', 'sa1b_val'],
            "error: 'sa1b_val' is no dataset of test_dataloader in {config} that yields every expression "
            '(every_expression=True). Set --dataset to one of: refcoco_val.',
        ),
        ([BASE, '--words', 'none.json'], 'error: none.json is no file of words. Give a JSON file, or '),
        ([BASE, '--max-images', '0'], '--max-images 0 is less than 1.'),
        ([BASE, '--seed', '-1'], '--seed -1 is less than 0.'),
        (
            [BASE, '--cfg-options', 'test_dataloader.dataset.datasets.refcoco_val.data_root=none'],
            "error: none is missing (dataset 'refcoco_val'). Expected instances.json",
        ),
    ],
)
def test_what_cannot_be_probed_is_refused_before_a_model_is_built(
    workplace, monkeypatch, capsys, args, message
):
    said = refusal(probe_listener, [str(CONFIG), *args], workplace, monkeypatch, capsys)
    assert message.format(config=CONFIG) in said


def test_a_config_without_such_a_dataset_is_refused(monkeypatch, workplace):
    monkeypatch.chdir(workplace.folder)
    base_config = str(ROOT / 'configs' / 'sa2va_tiny_base.py')
    monkeypatch.setattr(sys, 'argv', ['probe_listener.py', base_config, BASE])
    with pytest.raises(SystemExit, match='Set --dataset to one of: none'):
        probe_listener.main()
