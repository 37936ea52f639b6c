"""OpenImages: each image keeps its own masks, however its table is written."""

import csv
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from mmengine.dataset import BaseDataset, ClassBalancedDataset

from projects.mask_caption_sft.datasets import OpenImages
from projects.mask_caption_sft.datasets.formats.openimages import same_proportions
from projects.mask_caption_sft.datasets.index.repeat_rare import repeat_rare
from projects.mask_caption_sft.structures import BrokenRecord

TABLE = 'train-annotations-object-segmentation.csv'
CLASSES = 'oidv7-class-descriptions.csv'


def masks_by_image(root, **kwargs):
    dataset = OpenImages(data_root=str(root), **kwargs)
    samples = [dataset.read_record(dataset.get_data_info(i)) for i in range(len(dataset))]
    return {s.sample_id.split('#')[-1]: sorted(mask.tobytes() for mask in s.view1.masks) for s in samples}


def rewrite(path, change):
    header, *rows = path.read_text().splitlines()
    path.write_text('\n'.join([header, *change(rows)]) + '\n')


@pytest.mark.parametrize(
    'order',
    [lambda rows: rows[::-1], lambda rows: rows[::2] + rows[1::2], sorted],
    ids=['back', 'apart', 'sort'],
)
def test_a_table_in_another_order_gives_every_image_its_own_masks(folder, order):
    root = folder('openimages')
    before = masks_by_image(root)
    rewrite(root / TABLE, order)
    assert masks_by_image(root) == before
    assert len(before) == 3


def test_a_second_table_in_the_same_root_has_its_own_masks(folder):
    root = folder('openimages')
    before = masks_by_image(root)
    second = root / 'validation.csv'
    second.write_bytes((root / TABLE).read_bytes())
    rewrite(second, lambda rows: rows[-2:])
    few = masks_by_image(root, ann_file='validation.csv')
    assert sum(map(len, few.values())) == 2
    assert all(set(masks) <= set(before[image]) for image, masks in few.items())
    assert masks_by_image(root) == before
    tables = list((root / '.mask_index').glob('openimages-*/table.json'))
    assert {json.loads(path.read_text())['arguments']['ann_file'] for path in tables} == {TABLE, second.name}


def test_a_table_rewritten_since_is_read_again(folder):
    root = folder('openimages')
    before = masks_by_image(root)
    rewrite(root / TABLE, lambda rows: rows[1:])
    after = masks_by_image(root)
    assert sum(map(len, after.values())) == sum(map(len, before.values())) - 1
    classes = root / CLASSES
    classes.write_text(classes.read_text().replace('Circle', 'Disc').replace('Square', 'Disc'))
    dataset = OpenImages(data_root=str(root), class_name_as_expression=True)
    texts = [t for i in range(3) for t in dataset.read_record(dataset.get_data_info(i)).expressions]
    assert 'disc' in texts
    assert not {'circle', 'square'} & set(texts)


def test_a_byte_order_mark_and_blank_lines_do_no_harm(folder):
    root = folder('openimages')
    before = masks_by_image(root)
    for name in (TABLE, CLASSES):
        path = root / name
        path.write_text('\ufeff' + path.read_text() + '\n\n')
    assert masks_by_image(root) == before
    # Without a header the first row of the classes begins with the mark.
    path = root / CLASSES
    path.write_text('\ufeff' + '\n'.join(path.read_text().splitlines()[1:]))
    assert masks_by_image(root) == before


def test_bytes_that_are_no_text_cost_their_row(folder):
    root = folder('openimages')
    path = root / TABLE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'/m/tiny', b'/m/\xff\xfe')
    path.write_bytes(b''.join(lines))
    dataset = OpenImages(data_root=str(root))
    broken = [s for i in range(len(dataset)) if isinstance(s := dataset[i], BrokenRecord)]
    assert len(broken) == 1
    assert 'line 2: label' in broken[0].reason


def test_faults_have_the_lines_that_an_editor_shows(folder):
    root = folder('openimages')

    def damage(rows):
        rows[1] = rows[1].replace(',0.9,', ',much,')  # line 3
        rows[4] = rows[4].rsplit(',', 3)[0]  # line 6
        return [*rows[:6], '', *rows[6:-1], rows[-1].replace('/m/tiny', '/m/other')]  # line 8 is blank

    rewrite(root / TABLE, damage)
    last = len((root / TABLE).read_text().splitlines())
    table = OpenImages(data_root=str(root)).open_table()
    assert [name.split('#')[1] for name, _ in table.faults] == ['line 3', 'line 6', f'line {last}']
    assert "not a number: BoxXMin='0.0'" in table.faults[0][1]
    assert 'it has 7 values, the header 10' in table.faults[1][1]
    assert "label '/m/other" in table.faults[2][1]


def test_a_missing_column_is_named(folder):
    root = folder('openimages')
    (root / TABLE).write_text((root / TABLE).read_text().replace('PredictedIoU', 'Predicted'))
    with pytest.raises(ValueError, match=r'segmentation\.csv lacks a column .*PredictedIoU'):
        OpenImages(data_root=str(root))


def test_a_rank_holds_none_of_the_rows(folder):
    """Of 20,000 rows; the first process makes the table, this is what any other does."""
    root = folder('openimages')
    with (root / TABLE).open(newline='') as file:
        header, row, *_ = csv.reader(file)
    with (root / TABLE).open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([f'{i // 3:016x}_{i}.png', f'{i // 3:016x}', *row[2:]] for i in range(20_000))
    assert len(OpenImages(data_root=str(root))) == 6667
    before = pa.total_allocated_bytes()
    dataset = OpenImages(data_root=str(root))
    assert dataset.get_data_info(5000)['image'] == f'{5000:016x}'
    assert pa.total_allocated_bytes() - before < 100_000
    assert len(pickle.dumps(dataset)) < 5000


def honest(true, scale, round_):
    return tuple(max(1, int(round_(side * scale))) for side in true)


@pytest.mark.parametrize('round_', [np.floor, np.ceil, np.round], ids=['down', 'up', 'nearest'])
def test_honest_rounding_is_accepted_at_any_size(round_):
    rng = np.random.default_rng(0)
    for _ in range(2000):
        true = rng.uniform(300, 6000, 2)
        image = honest(true, rng.uniform(0.1, 1), round_)
        mask = honest(true, rng.uniform(0.05, 1.5), rng.choice([np.floor, np.ceil, np.round]))
        assert same_proportions(image, mask)
        assert same_proportions(mask, image)


def test_masks_of_other_proportions_are_refused():
    assert not same_proportions((1024, 768), (1024, 683))  # 4:3 and 3:2
    assert not same_proportions((1024, 768), (1600, 1190))  # 0.8 % off
    assert not same_proportions((240, 180), (100, 100))
    assert same_proportions((1024, 768), (1600, 1200))


class Labelled(BaseDataset):
    def load_data_list(self):
        return [{'labels': labels} for labels in ([0], [0, 1], [0], [0], [2], [0, 2], [0], [0])]

    def get_cat_ids(self, idx):
        return self.get_data_info(idx)['labels']


def test_rare_classes_are_repeated_as_mmengine_does():
    dataset = Labelled()
    labels = [Labelled().get_cat_ids(i) for i in range(len(dataset))]
    factors = ClassBalancedDataset(dataset, oversample_thr=0.5)._get_repeat_factors(dataset, 0.5)
    image_of = np.repeat(np.arange(len(labels)), [len(row) for row in labels])
    label_of = np.concatenate(labels)
    drawn = [repeat_rare(image_of, label_of, 0.5, seed)[1] for seed in range(400)]
    assert factors[1] == pytest.approx(2.0)
    assert (np.floor(factors) <= np.min(drawn, 0)).all()
    assert (np.max(drawn, 0) <= np.ceil(factors)).all()
    assert np.mean(drawn, 0) == pytest.approx(factors, abs=0.1)


def test_class_balance_is_a_setting_of_openimages(folder):
    root = str(folder('openimages'))
    plain, balanced = OpenImages(data_root=root), OpenImages(data_root=root, oversample_thr=1.0)
    assert len(balanced) > len(plain)
    names = [balanced.get_data_info(i)['sample_id'] for i in range(len(balanced))]
    assert names == sorted(names)
    assert set(names) == {plain.get_data_info(i)['sample_id'] for i in range(len(plain))}
    assert len(OpenImages(data_root=root, oversample_thr=1.0, max_samples=2)) == 2
    assert json.dumps(balanced.get_data_info(0))
