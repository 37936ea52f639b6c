"""An index says what the files say, knows when it is stale, and survives an interruption."""

import json
import multiprocessing
import pickle

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ClassBalancedDataset

from projects.mask_caption_sft.datasets import SA1B, OpenImages
from projects.mask_caption_sft.datasets.index import columns
from projects.mask_caption_sft.datasets.index.build import IndexPart, build_index
from projects.mask_caption_sft.datasets.index.columns import build_openimages_index, build_sa1b_index
from projects.mask_caption_sft.datasets.index.mask_filter import MaskFilter
from projects.mask_caption_sft.datasets.index.mask_index import MaskIndex
from projects.mask_caption_sft.datasets.index.records import repeat_rare
from projects.mask_caption_sft.datasets.skip_list import write_skip_list
from tests.one_process import OneProcessPool

BUILDERS = [('sa1b', SA1B, build_sa1b_index), ('openimages', OpenImages, build_openimages_index)]


def all_records(dataset):
    return [dataset.read_record(dataset.get_data_info(i)) for i in range(len(dataset))]


@pytest.mark.parametrize(('name', 'kind', 'build'), BUILDERS)
@pytest.mark.parametrize('mask_filter', [{}, {'min_area_ratio': 0.03}, {'min_predicted_iou': 0.9}])
def test_the_index_gives_what_the_files_give(folder, name, kind, build, mask_filter):
    root = str(folder(name))
    listed = kind(data_root=root, mask_filter=mask_filter)
    assert listed.lazy is None
    before = all_records(listed)
    build(root)
    indexed = kind(data_root=root, mask_filter=mask_filter)
    assert indexed.lazy is not None
    after = all_records(indexed)
    assert [sample.sample_id for sample in after] == [sample.sample_id for sample in before]
    for first, second in zip(before, after):
        assert np.array_equal(first.view1.masks, second.view1.masks)


@pytest.fixture
def logged(monkeypatch):
    """What was said: a function that gives it all as one text."""
    lines = []
    monkeypatch.setattr(columns, 'print_log', lambda text, *_: lines.append(text))
    return lambda: '\n'.join(lines)


def _same(part):
    return part


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """An index of 500 images with 0 to 5 masks each, and its columns as plain arrays."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 6, 500)
    image = np.repeat(np.arange(500), counts)
    area, iou = rng.random(len(image)), rng.random(len(image))
    part = IndexPart([f'image{i:03d}' for i in range(500)], counts.tolist())
    part.columns = {
        'position': list(range(len(image))), 'area_ratio': area.tolist(), 'predicted_iou': iou.tolist(),
        'stability_score': [1.0] * len(image), 'touches_border': (area > 0.9).tolist(),
        'label': (image % 7).tolist(),
    }  # fmt: skip
    build_index(tmp_path / 'index', [part], _same, lambda: {'signature': {}})
    # Several chunks, also of images that are larger than one.
    monkeypatch.setattr('projects.mask_caption_sft.datasets.index.mask_index._MASKS_PER_CHUNK', 3)
    return MaskIndex(tmp_path / 'index'), image, area, iou


def test_usable_images_are_those_with_a_mask_that_passes(simulated):
    index, image, area, iou = simulated
    mask_filter = MaskFilter(min_area_ratio=0.2, max_area_ratio=0.6, min_predicted_iou=0.7)
    good = (area >= 0.2) & (area <= 0.6) & (iou >= 0.7)
    expected = sorted(set(image[good].tolist()) - {image[good][0]})
    skipped = {f'image{image[good][0]:03d}', 'unknown'}
    for _ in range(2):  # made, and read back
        assert index.usable(mask_filter, skipped).tolist() == expected
    for i in expected[:20]:
        assert index.passing(i, mask_filter).tolist() == np.flatnonzero(good & (image == i)).tolist()
    assert len(index.usable(MaskFilter(min_area_ratio=2.0))) == 0


def test_an_index_travels_to_a_spawned_worker_by_its_path(simulated):
    index = simulated[0]
    data = pickle.dumps(index)
    assert len(data) < 500
    assert pickle.loads(data).names[3] == 'image003'
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        assert pool.map(len, [index]) == [500]


def test_names_are_found_in_one_pass(simulated, monkeypatch):
    monkeypatch.setattr('projects.mask_caption_sft.datasets.index.name_column._CHUNK_BYTES', 25)
    names = simulated[0].names
    assert names.positions_of({'image000', 'image137', 'image499', 'image5', ''}) == [0, 137, 499]
    assert names[-2:0:-200] == [names[498], names[298], names[98]]


@pytest.mark.parametrize(('name', 'kind', 'build'), BUILDERS)
def test_a_stale_index_says_so(folder, name, kind, build, logged):
    root = folder(name)
    index = build(str(root))
    assert index.changes(root) == []
    write_skip_list(root / 'skip_list.jsonl', [])
    assert index.changes(root) == [], 'a file that is not data changes nothing'
    if name == 'sa1b':
        (root / 'sa_999.json').write_text('{}')
        assert index.changes(root) == ['. has 4 files instead of 3']
    else:
        with (root / 'train-annotations-object-segmentation.csv').open('a') as file:
            file.write('x')
        assert index.changes(root) == ['train-annotations-object-segmentation.csv has changed']
    (root / 'sa_000000.json').unlink(missing_ok=True)
    if name == 'sa1b':
        assert 'sa_000000.json is gone' in index.changes(root)
    kind(data_root=str(root))
    assert 'is stale' in logged()
    assert 'Run tools/build_index.py again' in logged()


def test_files_that_cannot_be_read_are_named(folder, logged):
    root = folder('sa1b')
    (root / 'sa_000001.json').write_text('{"image": {"hei')
    index = build_sa1b_index(str(root))
    assert len(index) == 2
    assert 'JSONDecodeError' in index.info['broken']['sa_000001.json']
    assert len(SA1B(data_root=str(root))) == 2
    assert 'sa_000001.json is not in the index: JSONDecodeError' in logged()


def test_an_interrupted_build_goes_on(folder, monkeypatch):
    root = folder('sa1b')
    monkeypatch.setattr(columns, '_FILES_PER_TASK', 1)
    read, real = [], columns.sa1b_columns

    def interrupted(content):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(content['image']['image_id'])
        return real(content)

    monkeypatch.setattr('multiprocessing.Pool', OneProcessPool)
    monkeypatch.setattr(columns, 'sa1b_columns', interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_sa1b_index(str(root))
    assert SA1B(data_root=str(root)).lazy is None, 'half an index is none'
    monkeypatch.setattr(columns, 'sa1b_columns', lambda c: read.append(c['image']['image_id']) or real(c))
    assert len(build_sa1b_index(str(root))) == 3
    assert read == [0, 1, 2]
    assert not (root / '.mask_index.parts').exists()


def test_an_image_whose_rows_are_apart_is_one_image(folder):
    root = folder('openimages')
    table = root / 'train-annotations-object-segmentation.csv'
    header, *rows = table.read_text().splitlines()
    before = [sorted(map(tuple, sample.view1.masks.reshape(len(sample.view1.masks), -1)))
              for sample in all_records(OpenImages(data_root=str(root)))]  # fmt: skip
    table.write_text('\n'.join([header, *rows[::2], *rows[1::2]]) + '\n')
    build_openimages_index(str(root))
    after = [sorted(map(tuple, sample.view1.masks.reshape(len(sample.view1.masks), -1)))
             for sample in all_records(OpenImages(data_root=str(root)))]  # fmt: skip
    assert before == after


def test_damage_and_other_versions_are_named(folder):
    root = folder('sa1b')
    build_sa1b_index(str(root))
    names = root / '.mask_index' / 'names.bin'
    names.write_bytes(names.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r'\.mask_index is damaged .*names\.bin is truncated.*build_index'):
        SA1B(data_root=str(root))
    info = root / '.mask_index' / 'index.json'
    info.write_text(json.dumps(json.loads(info.read_text()) | {'version': 99}))
    with pytest.raises(ValueError, match=r'has version 99, needed 1\. Remove .*build_index'):
        SA1B(data_root=str(root))


def test_a_filter_that_leaves_nothing_is_named(folder):
    root = str(folder('sa1b'))
    build_sa1b_index(root)
    with pytest.raises(ValueError, match=r'no mask of dataset .* passes MaskFilter\(min_area_ratio=0\.99'):
        SA1B(data_root=root, mask_filter=dict(min_area_ratio=0.99))


@pytest.mark.parametrize(('name', 'kind', 'build'), BUILDERS)
@pytest.mark.parametrize('with_index', [False, True])
def test_the_skip_list_is_honoured(folder, name, kind, build, with_index):
    root = folder(name)
    if with_index:
        build(str(root))
    first, *others = (sample.sample_id for sample in all_records(kind(data_root=str(root))))
    write_skip_list(root / 'skip_list.jsonl', [(first.removeprefix(f'{root}/'), 'truncated')])
    assert [sample.sample_id for sample in all_records(kind(data_root=str(root)))] == others


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
    plain = len(OpenImages(data_root=root))
    balanced = OpenImages(data_root=root, oversample_thr=1.0)
    build_openimages_index(root)
    indexed = OpenImages(data_root=root, oversample_thr=1.0)
    assert len(balanced) == len(indexed) > plain
