"""A pack gives what its dataset gives, and knows when it is damaged or unfinished."""

import concurrent.futures
import json
import multiprocessing
import pickle
import re
from pathlib import Path

import lmdb
import numpy as np
import pytest
from torch.utils.data import DataLoader

from projects.mask_caption_sft.datasets import (
    SA1B,
    OpenImages,
    PackedRegions,
    RefCOCO,
    RegionMix,
    SAVPairs,
    collate_regions,
)
from projects.mask_caption_sft.datasets.mix import DrawSampler
from projects.mask_caption_sft.datasets.packs import read
from projects.mask_caption_sft.datasets.packs.convert import (
    EVERYTHING,
    FrameEncoding,
    PackTask,
    encoding_loss,
    pack_sample,
)
from projects.mask_caption_sft.datasets.packs.format import (
    PackedRecord,
    PackedView,
    decode_record,
    encode_record,
)
from projects.mask_caption_sft.datasets.packs.read import open_environment
from projects.mask_caption_sft.datasets.packs.write import record_key, write_pack
from projects.mask_caption_sft.datasets.skip_list import write_skip_list
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.ops.mask import encode_rle
from tests.one_process import OneProcessPool

ALL = [('sav', SAVPairs), ('sa1b', SA1B), ('openimages', OpenImages), ('refcoco', RefCOCO)]


def everything(kind, root, **kwargs):
    return kind(data_root=str(root), **(EVERYTHING.get(kind.__name__, {}) | kwargs))


def pack(dataset, out, kind='png', workers=1):
    task = PackTask(dataset, FrameEncoding(kind))
    return write_pack(out, range(len(dataset)), task, {'frames': kind}, workers)


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_a_pack_gives_what_the_dataset_gives(written, tmp_path, name, kind):
    dataset = everything(kind, written / name)
    manifest = pack(dataset, tmp_path / 'pack')
    packed = PackedRegions(data_root=str(tmp_path / 'pack'), every_expression=True, max_masks=None)
    assert len(packed) == len(dataset) == manifest['records'] == 3
    for i in range(3):
        first = dataset.read_record(dataset.get_data_info(i))
        second = packed.read_record(packed.get_data_info(i))
        assert second.sample_id == dataset.short_id(first.sample_id)
        assert second.expressions == first.expressions
        for view1, view2 in ((first.view1, second.view1), (first.view2, second.view2)):
            assert (view1 is None) == (view2 is None)
            if view1 is not None:
                assert np.array_equal(view1.image, view2.image)
                assert np.array_equal(view1.masks, view2.masks)
    if kind is not SAVPairs:
        stored = packed.read_packed(2).views[0].encoded
        assert stored == Path(first.view1.image_id).read_bytes(), 'files keep their bytes'


def test_one_text_of_a_region_is_drawn_for_training(written, tmp_path):
    dataset = everything(RefCOCO, written / 'refcoco')
    pack(dataset, tmp_path / 'pack')
    packed = PackedRegions(data_root=str(tmp_path / 'pack'))
    stored = packed.read_packed(0)
    assert max(map(len, stored.texts)) > 1
    drawn = [packed.read_record(packed.get_data_info(0)).expressions for _ in range(40)]
    assert all(len(texts) == len(stored.texts) for texts in drawn)
    assert {texts[0] for texts in drawn} == set(stored.texts[0])


def test_expressions_that_fit_nothing_stay_so_in_a_pack(folder, tmp_path):
    root = folder('refcoco')
    refs = pickle.loads((root / 'refs(unc).p').read_bytes())
    for ref in refs[:2]:
        ref.update(ann_id=[-1], sentences=[{'sent_id': 1, 'sent': f'the white cat {ref["ref_id"]}'}])
    (root / 'refs(unc).p').unlink()
    (root / 'grefs(unc).json').write_text(json.dumps(refs))
    dataset = everything(RefCOCO, root, no_target='empty')
    pack(dataset, tmp_path / 'pack')
    packed = PackedRegions(data_root=str(tmp_path / 'pack'), every_expression=True, max_masks=None)
    for i in range(3):
        first, second = (d.read_record(d.get_data_info(i)) for d in (dataset, packed))
        assert second.expressions == first.expressions
        assert second.is_absent().tolist() == first.is_absent().tolist()
    pipeline = [ChooseRegions(None), SecondView()]
    sample = PackedRegions(data_root=str(tmp_path / 'pack'), pipeline=pipeline)[0]
    absent = [expression.startswith('the white cat') for expression in sample.expressions]
    assert sum(absent) == 1, 'texts of one empty mask are those of one region, as of any other mask'
    assert [not mask.any() for mask in sample.view1.masks] == absent


def test_a_mask_that_is_empty_by_mistake_is_not_an_absent_one(written, tmp_path):
    dataset = everything(RefCOCO, written / 'refcoco')
    sample = dataset.read_record(dataset.get_data_info(0))
    sample.view1.masks[:2] = False
    sample.absent = [i == 1 for i in range(len(sample.expressions))]
    record = pack_sample(sample, 'a', FrameEncoding('png'))
    assert record.absent[:3] == [False, True, False]


def test_the_result_does_not_depend_on_the_workers(written, tmp_path):
    dataset = everything(SA1B, written / 'sa1b')
    one, two = (pack(dataset, tmp_path / str(n), workers=n) for n in (1, 2))
    assert one['checksum'] == two['checksum']
    other = pack(everything(SAVPairs, written / 'sav'), tmp_path / 'other')
    assert other['checksum'] not in (0, one['checksum'])


class Interrupted:
    """Packs two records and stops."""

    def __init__(self, task):
        self.task = task

    def __call__(self, row):
        if row == 2:
            raise KeyboardInterrupt
        return self.task(row)


def test_an_interrupted_pack_goes_on_and_is_not_read_before(written, tmp_path, monkeypatch):
    dataset = everything(SAVPairs, written / 'sav')
    whole = pack(dataset, tmp_path / 'whole')
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', OneProcessPool)
    monkeypatch.setattr('projects.mask_caption_sft.datasets.packs.write._TASKS_PER_COMMIT', 1)
    task, out = PackTask(dataset, FrameEncoding('png')), tmp_path / 'halves'
    with pytest.raises(KeyboardInterrupt):
        write_pack(out, range(3), Interrupted(task), {'frames': 'png'})
    with pytest.raises(FileNotFoundError, match=r'manifest\.json is missing.*it continues where it stopped'):
        PackedRegions(data_root=str(out))
    seen = []
    write_pack(out, range(3), lambda row: seen.append(row) or task(row), {'frames': 'png'})
    assert seen == [2]
    halves = PackedRegions(data_root=str(out))
    assert json.loads((out / 'manifest.json').read_text())['checksum'] == whole['checksum']
    assert len(halves) == 3
    with pytest.raises(ValueError, match='holds a pack of another source or with other options'):
        write_pack(out, range(3), task, {'frames': 'jpeg'})


def test_what_cannot_be_read_is_listed_in_the_pack(folder, tmp_path):
    root = folder('sav')
    path = sorted(root.rglob('*.npz'))[1]
    path.write_bytes(path.read_bytes()[:1000])
    manifest = pack(everything(SAVPairs, root), tmp_path / 'pack')
    assert (manifest['records'], manifest['broken']) == (2, 1)
    line = json.loads((tmp_path / 'pack' / 'not_packed.jsonl').read_text())
    assert line['sample_id'] == 'part_000/masklet_data_00001.npz'
    assert 'truncated' in line['reason']


def test_the_loss_of_jpeg_is_measured(written, tmp_path):
    dataset = everything(SAVPairs, written / 'sav')
    pack(dataset, tmp_path / 'png')
    pack(dataset, tmp_path / 'jpeg', 'jpeg')
    exact = encoding_loss(dataset, PackedRegions(data_root=str(tmp_path / 'png')))
    lossy = encoding_loss(dataset, PackedRegions(data_root=str(tmp_path / 'jpeg')))
    assert exact == {'mean_abs_error': 0.0, 'psnr': float('inf')}
    assert 0 < lossy['mean_abs_error'] < 3
    assert 30 < lossy['psnr'] < 60


def test_a_record_by_hand():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2] = True
    view = PackedView('a#1', b'pixels', (4, 5), [encode_rle(mask)])
    record = PackedRecord('a', [view], [['the dot', 'a dot']], 8)
    data = encode_record(record)
    assert decode_record(data) == record
    for damaged in (data[:6], data[:-1], data[:20] + b'?' + data[21:]):
        with pytest.raises(ValueError, match=r'cut short|checksum differs'):
            decode_record(damaged)


@pytest.fixture
def distances(tmp_path):
    """A pack of four records of known distance and area."""
    image = FrameEncoding('png').encode(np.zeros((10, 10, 3), np.uint8))
    records = []
    for i, (distance, side) in enumerate([(4, 1), (8, 5), (12, 5), (40, 9)]):
        mask = np.zeros((10, 10), bool)
        mask[:side, :side] = True
        full = np.ones((10, 10), bool)
        views = [PackedView(f'{i}#{n}', image, (10, 10), [encode_rle(m)]) for n, m in enumerate((full, mask))]
        records.append(PackedRecord(f'record{i}', views, [[]], distance))
    write_pack(tmp_path / 'pack', [records], _as_result, {})
    return str(tmp_path / 'pack')


def _as_result(records):
    return records, []


def ids(root, **kwargs):
    dataset = PackedRegions(data_root=root, **kwargs)
    return [dataset.get_data_info(i)['sample_id'][-1] for i in range(len(dataset))]


def test_records_are_filtered_without_reading_them(distances, tmp_path):
    assert ids(distances) == ['0', '1', '2', '3']
    assert ids(distances, frame_distance=(8, 12)) == ['1', '2']
    assert ids(distances, min_area_ratio=0.25) == ['1', '2', '3']
    assert ids(distances, min_area_ratio=0.26) == ['3']
    assert ids(distances, max_samples=2) == ['0', '1']
    write_skip_list(tmp_path / 'pack' / 'skip_list.jsonl', [('record2', 'blurred')])
    assert ids(distances) == ['0', '1', '3']
    with pytest.raises(ValueError, match='none of the 4 records'):
        PackedRegions(data_root=distances, frame_distance=(100, 200))


def test_a_pack_without_distances_says_so(written, tmp_path):
    pack(everything(SAVPairs, written / 'sav'), tmp_path / 'pack')
    with pytest.raises(ValueError, match=r'does not record frame distances\. Set frame_distance=None'):
        PackedRegions(data_root=str(tmp_path / 'pack'), frame_distance=(1, 5))


def test_a_truncated_database_is_found_at_start(distances):
    path = f'{distances}/data.mdb'
    with open(path, 'rb+') as file:
        file.truncate(8192)
    with pytest.raises(ValueError, match=r'data\.mdb has 8192 bytes, its manifest says'):
        PackedRegions(data_root=distances)


def test_a_damaged_record_is_a_broken_record(distances):
    with lmdb.open(distances, map_size=1 << 30) as env, env.begin(write=True) as transaction:
        data = bytearray(transaction.get(record_key(1)))
        data[-3] ^= 0xFF
        transaction.put(record_key(1), bytes(data))
    manifest = Path(distances) / 'manifest.json'
    size = (Path(distances) / 'data.mdb').stat().st_size
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {'bytes': size}))
    packed = PackedRegions(data_root=distances, pipeline=[ChooseRegions(1)])
    assert 'record1' in packed[1].sample_id
    assert 'checksum differs' in packed[1].reason


def test_a_damaged_tree_is_a_broken_record(distances, monkeypatch):
    def corrupt(folder):
        raise lmdb.CorruptedError('MDB_CORRUPTED: Located page was wrong type')

    packed = PackedRegions(data_root=distances, pipeline=[ChooseRegions(1)])
    monkeypatch.setattr(read, 'open_environment', corrupt)
    assert re.search(r'record 1 of .*data\.mdb cannot be read \(.*wrong type', packed[1].reason)


def _opened_in_child(folder: str, parents: int, queue) -> None:
    queue.put(id(open_environment(folder)) != parents)


def test_a_forked_process_opens_the_database_for_itself(written, tmp_path):
    pack(everything(SAVPairs, written / 'sav'), tmp_path)
    mine = open_environment(str(tmp_path))
    assert open_environment(str(tmp_path)) is mine
    context = multiprocessing.get_context('fork')
    queue = context.SimpleQueue()
    child = context.Process(target=_opened_in_child, args=(str(tmp_path), id(mine), queue))
    child.start()
    child.join(60)
    assert queue.get()
    assert len(PackedRegions(data_root=str(tmp_path))) == 3  # the parent's is still good


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_may_be_forked_or_spawned(written, tmp_path, method):
    pack(everything(SAVPairs, written / 'sav'), tmp_path / 'pack')
    pipeline = [
        ChooseRegions(1),
        SecondView(),
        PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
    ]
    declared = dict(type=PackedRegions, data_root=str(tmp_path / 'pack'), pipeline=pipeline)
    mix = RegionMix({'sav': declared})
    mix[0]  # the parent has the database open when it forks
    loader = DataLoader(mix, 2, sampler=DrawSampler(mix), num_workers=2, collate_fn=collate_regions,
                        multiprocessing_context=method)  # fmt: skip
    iterator = iter(loader)
    batches = [next(iterator)['batch'] for _ in range(4)]
    assert [len(batch) for batch in batches] == [2] * 4
    assert not any(batch.skipped for batch in batches)
