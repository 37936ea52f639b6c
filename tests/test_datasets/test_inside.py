"""Names in annotation files stay below the folder that they are looked for in."""

import json

import pytest
from PIL import Image

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs
from projects.mask_caption_sft.datasets.formats.coco import COCOInstances
from projects.mask_caption_sft.datasets.inside import inside
from projects.mask_caption_sft.structures import BrokenRecord
from tests.own_data import write_coco

OUTSIDE = '../outside.jpg'


@pytest.mark.parametrize('name', ['../a.jpg', '/etc/passwd', 'a/../../b.jpg', '..', '', 'a\0b'])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r'is not a path below .*must be relative and without "\.\."'):
        inside(tmp_path, name)


def test_a_name_below_is_taken(tmp_path):
    assert inside(tmp_path, 'a/b..c.jpg') == tmp_path / 'a/b..c.jpg'


def refused(dataset) -> bool:
    sample = dataset[0]
    return isinstance(sample, BrokenRecord) and 'is not a path below' in sample.reason


def test_an_image_outside_is_not_read_by_refcoco(folder):
    root = folder('refcoco')
    content = json.loads((root / 'instances.json').read_text())
    found = next(root.rglob('*.jpg'))
    Image.open(found).save(found.parent.parent / 'outside.jpg')
    for image in content['images']:
        image['file_name'] = OUTSIDE
    (root / 'instances.json').write_text(json.dumps(content))
    assert refused(RefCOCO(data_root=str(root)))


def test_an_image_outside_is_not_read_by_sa1b(folder):
    root = folder('sa1b')
    path = sorted(root.rglob('sa_*.json'))[0]
    content = json.loads(path.read_text())
    content['image']['file_name'] = OUTSIDE
    path.write_text(json.dumps(content))
    assert refused(SA1B(data_root=str(root)))


def test_an_image_outside_is_not_read_by_a_coco_file_of_ones_own(tmp_path):
    path = write_coco(tmp_path / 'mine', num_images=1)
    content = json.loads(path.read_text())
    (tmp_path / 'mine' / 'images' / content['images'][0]['file_name']).rename(tmp_path / 'mine/outside.jpg')
    content['images'][0]['file_name'] = OUTSIDE
    path.write_text(json.dumps(content))
    assert refused(COCOInstances(data_root=str(path.parent), ann_file=path.name, image_dir='images'))


@pytest.mark.parametrize('column', ['ImageID', 'MaskPath'])
def test_a_file_outside_is_not_read_by_openimages(folder, column):
    root = folder('openimages')
    path = root / 'train-annotations-object-segmentation.csv'
    header, *rows = path.read_text().splitlines()
    position = header.split(',').index(column)
    changed = []
    for row in rows:
        cells = row.split(',')
        cells[position] = '../../../outside' if column == 'ImageID' else OUTSIDE
        changed.append(','.join(cells))
    path.write_text('\n'.join([header, *changed]) + '\n')
    assert refused(OpenImages(data_root=str(root)))


@pytest.mark.parametrize(
    ('name', 'kind', 'pattern'), [('sa1b', SA1B, '*.json'), ('sav', SAVPairs, '**/*.npz')]
)
@pytest.mark.parametrize('form', ['{root}/../elsewhere/{name}', '{there}/{name}'])
def test_a_table_of_masks_cannot_name_a_file_elsewhere(folder, name, kind, pattern, form):
    """It may have come with the data."""
    root = folder(name)
    dataset = kind(data_root=str(root))
    record = dataset.get_data_info(0)
    path = sorted(root.glob(pattern))[0]
    there = root.parent / 'elsewhere'
    there.mkdir()
    for file in path.parent.glob(f'{path.stem}*'):
        file.rename(there / file.name)
    sample_id = form.format(root=root, there=there, name=path.name)
    with pytest.raises(ValueError, match='is not a path below'):
        dataset.read_record(record | {'sample_id': sample_id})
