"""One file in a hundred damaged, in every way: training goes on, and every record is named."""

import csv
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs
from projects.mask_caption_sft.datasets import base as base_module
from projects.mask_caption_sft.evaluation.dataset_report import InspectRecord, report_table, summarize
from projects.mask_caption_sft.structures import BrokenRecord, RegionSample
from tests.damage import PIPELINE, truncate, zero_bytes


def rewrite_npz(change):
    def damage(path):
        with np.load(path) as file:
            arrays = dict(file)
        change(arrays)
        np.savez_compressed(path.with_suffix(''), **arrays)

    return damage


def rewrite_json(change):
    def damage(path):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def nan_frame(arrays):
    arrays['frame1'][0, 0] = np.nan


def other_rle_size(content, position=0):
    content['annotations'][position]['segmentation']['size'] = [7, 9]


def one_pixel(path):
    Image.new('L', (1, 1), 255).save(path)


SAV = [
    (truncate, 'truncated'), (zero_bytes, 'truncated'),
    (rewrite_npz(lambda a: a.pop('mask2')), 'wrong keys'),
    (rewrite_npz(lambda a: a.update(mask1=a['mask1'].astype('U8'))), 'other'),
    (rewrite_npz(nan_frame), 'not finite'),
    (rewrite_npz(lambda a: a.update(mask2=a['mask2'] * 0)), 'empty mask'),
    (rewrite_npz(lambda a: a.update(mask2=a['mask2'][:-5])), 'size mismatch'),
    (rewrite_npz(lambda a: a.update(frame1=a['frame1'][..., 0])), 'size mismatch'),
]  # fmt: skip
SA1B_JSON = [
    (truncate, 'truncated'),
    (zero_bytes, 'truncated'),
    (rewrite_json(lambda c: [other_rle_size(c, i) for i in range(len(c['annotations']))]), 'size mismatch'),
    (rewrite_json(lambda c: c.pop('annotations')), 'wrong keys'),
    (rewrite_json(lambda c: c.update(annotations=[])), 'other'),
    (rewrite_json(lambda c: c['image'].update(width=999)), 'size mismatch'),
    (rewrite_json(lambda c: [a['segmentation'].update(counts=7) for a in c['annotations']]), 'other'),
]
IMAGES = [(truncate, 'unreadable'), (zero_bytes, 'unreadable'), (lambda path: path.unlink(), 'missing')]
MASKS = [(one_pixel, 'size mismatch'), (truncate, 'unreadable'), (zero_bytes, 'unreadable')]
CASES = [
    *[(SAVPairs, 'sav', '**/*.npz', *case) for case in SAV],
    *[(SA1B, 'sa1b', '*.json', *case) for case in SA1B_JSON],
    *[(SA1B, 'sa1b', '*.jpg', *case) for case in IMAGES],
    *[(OpenImages, 'openimages', 'images/**/*.jpg', *case) for case in IMAGES],
    *[(OpenImages, 'openimages', 'masks/**/*.png', *case) for case in MASKS],
    *[(RefCOCO, 'refcoco', '**/*000000000002.jpg', *case) for case in IMAGES],
]


@pytest.mark.parametrize(('kind', 'name', 'pattern', 'damage', 'fault'), CASES)
def test_a_damaged_file_is_one_named_broken_record(folder, kind, name, pattern, damage, fault):
    root = folder(name)
    damaged = sorted(root.glob(pattern))[0]
    damage(damaged)
    options = {'max_masks': None} if kind is SA1B else {}
    dataset = kind(data_root=str(root), pipeline=PIPELINE, **options)
    samples = [dataset[i] for i in range(len(dataset))]
    broken = [sample for sample in samples if isinstance(sample, BrokenRecord)]
    assert len(broken) == 1
    assert len(samples) == 3
    assert all(isinstance(sample, BrokenRecord | RegionSample) for sample in samples)
    assert broken[0].sample_id.startswith(str(root))
    assert damaged.stem.split('_')[0] in broken[0].sample_id + broken[0].reason
    summary = summarize(map(InspectRecord(dataset), range(3)), 3)
    assert summary['faults'] == {fault: 1}


@pytest.mark.parametrize(
    'damage',
    [other_rle_size, lambda c: c['annotations'][0]['segmentation'].update(counts='0'),
     lambda c: c['annotations'][0].pop('segmentation')],
)  # fmt: skip
def test_one_bad_mask_costs_that_mask_and_not_its_image(folder, damage, monkeypatch):
    root = folder('sa1b')
    path = sorted(root.glob('*.json'))[0]
    said = []
    monkeypatch.setattr(base_module, 'print_log', lambda text, *_: said.append(text))
    before = SA1B(data_root=str(root), max_masks=None)[0].view1.masks
    rewrite_json(damage)(path)
    dataset = SA1B(data_root=str(root), pipeline=PIPELINE, max_masks=None)
    assert np.array_equal(dataset.read_record(dataset.get_data_info(0)).view1.masks, before[1:])
    assert isinstance(dataset[0], RegionSample)
    assert said[0].startswith(f'{path}: a mask is left out: annotation 0: ')
    summary = summarize(map(InspectRecord(dataset), range(3)), 3)
    assert summary['broken'] == 0
    [(name, reason)] = summary['masks_left_out']
    assert name == path.name
    assert reason.startswith('annotation 0: ')
    assert 'masks left out of records whose others are read: 1' in report_table({'sa1b': summary})


def test_a_short_row_is_one_broken_record(folder):
    root = folder('openimages')
    table = root / 'train-annotations-object-segmentation.csv'
    with table.open(newline='') as file:
        rows = list(csv.reader(file))
    rows[1] = rows[1][:5]
    with table.open('w', newline='') as file:
        csv.writer(file).writerows(rows)
    dataset = OpenImages(data_root=str(root), pipeline=PIPELINE)
    broken = [s for i in range(len(dataset)) if isinstance(s := dataset[i], BrokenRecord)]
    assert len(broken) == 1
    assert 'line 2' in broken[0].reason


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize(
    ('kind', 'name', 'pattern'),
    [(SAVPairs, 'sav', '**/*.npz'), (SA1B, 'sa1b', '*.json'), (SA1B, 'sa1b', '*.jpg')],
)
def test_bytes_changed_at_random_never_end_the_run(folder, kind, name, pattern, seed):
    """A flipped byte may go unseen in pixels; anything that is noticed becomes a broken record."""
    root = folder(name)
    path = sorted(root.glob(pattern))[0]
    rng = np.random.default_rng((seed, zlib.crc32(pattern.encode())))
    data = bytearray(path.read_bytes())
    for position in rng.integers(len(data), size=8):
        data[position] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(data))
    dataset = kind(data_root=str(root), pipeline=PIPELINE)
    assert all(isinstance(dataset[i], BrokenRecord | RegionSample) for i in range(len(dataset)))


class FailingDisk:
    """``read_record`` of a disk that fails a number of times."""

    def __init__(self, dataset, failures):
        self.read, self.failures, self.calls = dataset.read_record, failures, 0

    def __call__(self, record):
        self.calls += 1
        if self.calls <= self.failures:
            raise OSError(5, 'Input/output error')
        return self.read(record)


@pytest.mark.parametrize(('failures', 'is_broken'), [(2, False), (3, True)])
def test_a_failing_disk_is_asked_again_and_then_named(written, monkeypatch, failures, is_broken):
    monkeypatch.setattr(base_module, '_RETRY_SECONDS', 0.0)
    dataset = SAVPairs(data_root=str(written / 'sav'), pipeline=PIPELINE)
    dataset.read_record = disk = FailingDisk(dataset, failures)
    sample = dataset[0]
    assert isinstance(sample, BrokenRecord) is is_broken
    assert disk.calls == 3
    if is_broken:
        assert 'Input/output error' in sample.reason


def test_a_damaged_file_is_not_asked_again(folder):
    root = folder('sav')
    zero_bytes(sorted(root.rglob('*.npz'))[0])
    dataset = SAVPairs(data_root=str(root), pipeline=PIPELINE)
    dataset.read_record = disk = FailingDisk(dataset, 0)
    assert isinstance(dataset[0], BrokenRecord)
    assert disk.calls == 1
