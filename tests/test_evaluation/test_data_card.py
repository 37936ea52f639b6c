"""The card names black images, duplicates, and images that are trained on and validated on."""

import json

import numpy as np
from PIL import Image

from projects.mask_caption_sft.datasets import COCOInstances
from projects.mask_caption_sft.evaluation.data_card import data_card
from projects.mask_caption_sft.evaluation.data_leaks import DataLeaks
from projects.mask_caption_sft.evaluation.dataset_report import InspectRecord, report_table, summarize
from tests.own_data import write_coco


def named(root, names):
    """A COCO folder whose images have other names, and folders."""
    path = write_coco(root, len(names), seed=len(str(root)))
    content = json.loads(path.read_text())
    for image, name in zip(content['images'], names):
        (root / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        (root / 'images' / image['file_name']).rename(root / 'images' / name)
        image['file_name'] = name
    path.write_text(json.dumps(content))
    return COCOInstances(data_root=str(root), ann_file='instances.json')


def facts(dataset):
    return map(InspectRecord(dataset), range(len(dataset)))


def test_leaks_are_found_by_cocos_id_whatever_the_folder_and_by_pixels(tmp_path):
    train = named(tmp_path / 'a', ['any/COCO_train2014_000000000139.jpg', '000000000200.jpg', 'x.jpg'])
    val = named(tmp_path / 'bb', ['val2017/000000000139.jpg', '000000000201.jpg'])
    leaks = DataLeaks()
    records = [list(leaks.watch('train', False, facts(train))), list(leaks.watch('val', True, facts(val)))]
    [leak] = leaks.found()
    assert (leak['train'], leak['val'], leak['count']) == ('train', 'val', 1)
    assert leak['examples'] == [['instances.json#image 0', 'instances.json#image 0', 'COCO image 139']]
    again = DataLeaks()
    for is_val in (False, True):
        list(again.watch('one', is_val, records[0][2:]))
    assert [leak['examples'][0][2][:6] for leak in again.found()] == ['pixels']
    assert DataLeaks().found() == []


def test_black_white_and_grey_images_are_counted_and_named(tmp_path):
    dataset = named(tmp_path, ['a.png', 'b.png', 'c.png', 'd.jpg'])
    for name, value in (('a', 1), ('b', 254), ('c', 120)):
        shape = np.asarray(Image.open(tmp_path / 'images' / 'd.jpg')).shape
        Image.fromarray(np.full(shape, value, np.uint8)).save(tmp_path / 'images' / f'{name}.png')
    summary = summarize(facts(dataset), 4)
    light = summary['light']
    assert (light['views'], light['black'], light['white'], light['grey']) == (4, 1, 1, 3)
    assert light['named'] == ['instances.json#image 0', 'instances.json#image 1']
    assert 'black images: 1, white images: 1 (instances.json#image 0, ' in report_table({'x': summary})
    leak = {'train': 't', 'val': 'v', 'count': 2, 'examples': [['x', 'y', 'COCO image 1']]}
    card = data_card('config.py', {'x': summary}, [leak], ['z: gone'])
    assert '| x | 4 | 4 | 0 | ' in card
    assert '| 1 / 1 / 3 |' in card
    assert '- black or white images: instances.json#image 0, instances.json#image 1' in card
    assert '- 2 of v are in t too: y and x (COCO image 1)' in card
    assert '- z: gone' in card
    assert 'None among the records' in data_card('config.py', {}, [], [])
