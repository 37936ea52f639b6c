"""What captions are worth, as a user asks for it."""

import json
import re
import shutil
import sys
from dataclasses import replace

import probe_captions
import pytest
import torch

from projects.mask_caption_sft.evaluation.caption_probe.probe import DescribedRegion
from projects.mask_caption_sft.evaluation.word_probe.report import shown
from projects.mask_caption_sft.structures import BrokenRecord, RegionSample, View
from tests.workplace import CONFIG, ROOT, Workplace, refusal

pytestmark = pytest.mark.slow
BASE = 'data/tiny_world/sa2va_tiny'
QWEN_CONFIG, QWEN_BASE = (
    str(ROOT / 'configs' / 'mask_caption_sft_tiny_qwen3_vl.py'),
    'data/tiny_world/sa2va_tiny_qwen3_vl',
)


def call(place: Workplace, *args: str, check: bool = True):
    tool = str(ROOT / 'tools' / 'probe_captions.py')
    return place.call(sys.executable, tool, str(CONFIG), *args, check=check)


def cells(line: str) -> list[str]:
    return line.strip('| ').split(' | ')


def test_tables_and_json_agree_with_a_second_listener_of_another_family(workplace):
    args = ['--words', 'tiny', '--dataset', 'sa1b_val', '--out', 'probed/captions.json']
    result = call(workplace, BASE, *args, '--listener', QWEN_CONFIG, QWEN_BASE)
    report = json.loads((workplace.folder / 'probed' / 'captions.json').read_text())
    heading, _, *lines = result.stdout.splitlines()
    regions = report['regions']
    assert heading.startswith(f'captions by the student of {BASE}, answers given; 2 records of sa1b_val, ')
    assert f'{len(regions)} regions; words tiny, seed 0' in heading
    rows = {cells(line)[0]: cells(line)[1:] for line in lines if line.startswith('|')}
    for name in ('the model itself', QWEN_BASE):
        found = report['listeners'][name]
        assert rows[name] == [shown(found[key]) for key in ('ious', 'shuffled_ious', 'blank_ious')]
        ious = [region['heard'][name]['iou'] for region in regions]
        assert found['ious'] == pytest.approx(sum(ious) / len(ious))
        assert found['kinds']['colour']['num_words'] > 0
        words = [word for region in regions for word in region['heard'][name]['words']]
        assert len(words) == found['kinds']['all kinds']['num_words']
        assert all(
            word['expression'] == region['caption']
            for region in regions
            for word in region['heard'][name]['words']
        )
        assert f'heard by {name}' in lines
    itself, second = report['listeners'].values()
    assert itself['ious'] > itself['shuffled_ious'] + 0.1
    assert itself['ious'] != second['ious']
    agreement = report['agreement']['the caption of view 2']
    assert rows['the caption of view 2'][:4] == [
        str(len(regions)), *(shown(agreement[key]) for key in ('shared', 'shared_with_other', 'equal'))
    ]  # fmt: skip
    assert all(region['caption'] and region['second_caption'] for region in regions)
    assert "people's expressions" not in report['agreement']


def test_a_runs_teacher_is_probed_against_what_people_said(trained):
    args = ['--teacher', '--words', 'tiny', '--dataset', 'refcoco_val', '--max-images', '1']
    result = call(trained, 'run/iter_4.pth', *args, '--cfg-options', 'model.predict_dtype=bfloat16')
    heading, _, *lines = result.stdout.splitlines()
    assert heading.startswith(
        'captions by the teacher of run/iter_4.pth, answers given; 1 records of refcoco_val, '
    )
    rows = {cells(line)[0]: cells(line)[1:] for line in lines if line.startswith('|')}
    assert int(rows["people's expressions"][0]) > 0
    assert 'the caption of view 2' not in rows


@pytest.mark.parametrize(
    ('records', 'held'),
    [
        (lambda sample, broken: [sample, replace(sample, view2=sample.view1)], 'image.jpg and image.jpg'),
        (lambda sample, broken: [sample, broken], 'what cannot be read (a reason)'),
        (lambda sample, broken: [sample], 'nothing'),
    ],
)
def test_a_listener_that_sees_other_views_is_refused(records, held):
    view = View('image.jpg', *[torch.zeros(1)] * 4)
    sample = RegionSample('sav_val', 'the file 1', view, replace(view, image_id='second.jpg'), [None])
    region = DescribedRegion(1, 0, 'the file 1', ('image.jpg', 'second.jpg'), 'red', 'red', ())
    broken = BrokenRecord('sav_val', 'the file 1', 'a reason')
    assert probe_captions.same_record([sample, sample], region) is sample
    message = (
        f'Record 1, the file 1, shows image.jpg and second.jpg, and for the listener {held}. '
        'Let both configs draw the same views of the same data (--cfg-options apply to both).'
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        probe_captions.same_record(records(sample, broken), region)


def test_a_record_that_cannot_be_read_is_named_and_left_out(workplace, tmp_path):
    shutil.copytree(workplace.folder / 'data', tmp_path / 'data')
    images = tmp_path / 'data' / 'tiny_world' / 'val' / 'sa1b'
    sorted(images.glob('*.jpg'))[0].write_bytes(b'')
    result = call(Workplace(tmp_path), BASE, '--words', 'tiny', '--dataset', 'sa1b_val')
    assert 'left out: ' in result.stderr
    assert '; 1 records of sa1b_val, ' in result.stdout


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none.pth'], 'error: none.pth does not exist.'),
        ([BASE, '--listener', str(CONFIG), 'none.pth'], 'error: none.pth does not exist.'),
        (
            [BASE, '--dataset', 'none'],
            "error: 'none' is no dataset of test_dataloader in {config}. "
            'Set --dataset to one of: refcoco_val, sa1b_val, sav_val.',
        ),
        ([BASE, '--words', 'none.json'], 'error: none.json is no file of words. Give a JSON file, or '),
        ([BASE, '--max-images', '0'], '--max-images 0 is less than 1.'),
    ],
)
def test_what_cannot_be_probed_is_refused_before_a_model_is_built(
    workplace, monkeypatch, capsys, args, message
):
    said = refusal(probe_captions, [str(CONFIG), *args], workplace, monkeypatch, capsys)
    assert message.format(config=CONFIG) in said
