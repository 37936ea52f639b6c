"""A table says what the files say, is made again when they change, and by one process at a time."""

import json
import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs
from projects.mask_caption_sft.datasets.formats import sa1b as sa1b_module
from projects.mask_caption_sft.datasets.formats.sa1b import SA1BFiles
from projects.mask_caption_sft.datasets.index import place
from projects.mask_caption_sft.datasets.index import table as table_module
from projects.mask_caption_sft.datasets.index import tree as tree_module
from projects.mask_caption_sft.datasets.index.listing import list_tree
from projects.mask_caption_sft.datasets.index.schema import SCHEMA, MaskRows
from projects.mask_caption_sft.datasets.index.table import MaskTable, open_table
from projects.mask_caption_sft.datasets.index.tree import FileTree
from projects.mask_caption_sft.datasets.skip_list import write_skip_list
from projects.mask_caption_sft.ops.mask import decode_segmentation
from tests.one_process import OneProcessPool

ALL = [('sav', SAVPairs), ('sa1b', SA1B), ('openimages', OpenImages), ('refcoco', RefCOCO)]


def all_records(dataset):
    return [dataset.read_record(dataset.get_data_info(i)) for i in range(len(dataset))]


@pytest.fixture
def logged(monkeypatch):
    """What was said of tables: a function that gives it all as one text."""
    lines = []
    for module in ('index.table', 'index.lock', 'tabled'):
        monkeypatch.setattr(
            f'projects.mask_caption_sft.datasets.{module}.print_log', lambda text, *_: lines.append(text)
        )
    return lambda: '\n'.join(lines)


def files_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


# ---------------------------------------------------------------- what is in it


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_every_format_has_a_table_of_the_same_columns(folder, name, kind):
    dataset = kind(data_root=str(folder(name)))
    table = dataset.open_table()
    rows = pq.read_table(table.parts[0])
    assert rows.schema.remove_metadata().equals(SCHEMA)
    assert table.info['format'] == name
    assert table.info['records'] == len(dataset)
    assert len(set(rows['record'].to_pylist())) == len(dataset)
    expected = 3 if name == 'sav' else sum(len(sample.view1.masks) for sample in all_records(dataset))
    assert table.info['masks'] == len(rows) == expected


def test_what_a_table_says_of_a_mask_is_so(written):
    for kind, name in ((SA1B, 'sa1b'), (RefCOCO, 'refcoco')):
        dataset = kind(data_root=str(written / name))
        rows = pq.read_table(dataset.open_table().parts[0]).to_pylist()
        masks = np.concatenate([sample.view1.masks.reshape(len(sample.view1.masks), -1) for sample in
                                all_records(kind(data_root=str(written / name)))])  # fmt: skip
        for row, mask in zip(rows, masks, strict=True):
            assert (row['height'] * row['width']) == len(mask)
            mask = mask.reshape(row['height'], row['width'])
            if name == 'sa1b':
                assert row['area_ratio'] == pytest.approx(mask.mean())
                y, x = np.nonzero(mask)
                box = [x.min() / mask.shape[1], y.min() / mask.shape[0]]
                box += [(x.max() + 1) / mask.shape[1], (y.max() + 1) / mask.shape[0]]
                assert row['box'] == pytest.approx(box)
                assert row['image'] == row['record'].replace('.json', '.jpg')
            else:
                [segmentation] = json.loads(row['mask'])
                assert np.array_equal(decode_segmentation(segmentation, *mask.shape), mask)
                assert row['texts']


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_a_table_is_made_once_and_opened_from_then_on(folder, name, kind, monkeypatch):
    root = folder(name)
    before = [sample.sample_id for sample in all_records(kind(data_root=str(root)))]
    made = files_below(root / '.mask_index')
    monkeypatch.setattr(table_module, 'build_table', None)
    monkeypatch.setattr(table_module, 'write_selection', None)
    assert [sample.sample_id for sample in all_records(kind(data_root=str(root)))] == before
    assert files_below(root / '.mask_index') == made
    assert before == sorted(before)


@pytest.mark.parametrize('mask_filter', [{'min_area_ratio': 0.03}, {'min_predicted_iou': 0.9}])
def test_a_filter_is_not_the_tables_and_changes_what_is_drawn(folder, mask_filter):
    root = folder('sa1b')
    path = sorted(root.glob('*.json'))[0]
    content = json.loads(path.read_text())
    for annotation in content['annotations'][1:]:
        annotation['predicted_iou'] = 0.5
    path.write_text(json.dumps(content))
    everything = all_records(SA1B(data_root=str(root)))
    some = all_records(SA1B(data_root=str(root), mask_filter=mask_filter))
    assert len(list((root / '.mask_index').iterdir())) == 1
    masks = {mask.tobytes() for sample in everything for mask in sample.view1.masks}
    chosen = {mask.tobytes() for sample in some for mask in sample.view1.masks}
    assert chosen < masks


def test_a_filter_that_leaves_nothing_is_named(folder):
    with pytest.raises(ValueError, match=r'no mask of dataset .* passes MaskFilter\(min_area_ratio=0\.99'):
        SA1B(data_root=str(folder('sa1b')), mask_filter=dict(min_area_ratio=0.99))


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_the_skip_list_is_honoured(folder, name, kind):
    root = folder(name)
    first, *others = (sample.sample_id for sample in all_records(kind(data_root=str(root))))
    write_skip_list(root / 'skip_list.jsonl', [(first.removeprefix(f'{root}/'), 'blurred')])
    assert [sample.sample_id for sample in all_records(kind(data_root=str(root)))] == others
    write_skip_list(root / 'skip_list.jsonl', [(name, 'blurred') for name in (first, *others)])
    with pytest.raises(ValueError, match=r'every record of dataset .* is in skip_list\.jsonl'):
        kind(data_root=str(root))


def test_files_that_cannot_be_read_are_named_and_drawn_last_as_broken(folder, logged):
    root = folder('sa1b')
    (root / 'sa_000001.json').write_text('{"image": {"hei')
    dataset = SA1B(data_root=str(root))
    assert [Path(dataset.get_data_info(i)['sample_id']).name for i in range(3)] == [
        'sa_000000.json', 'sa_000002.json', 'sa_000001.json'
    ]  # fmt: skip
    assert 'JSONDecodeError' in dataset[2].reason
    assert 'sa_000001.json cannot be read: JSONDecodeError' in logged()
    assert len(SA1B(data_root=str(root), max_samples=2)) == 2


# ---------------------------------------------------------------- when it is made again


def test_a_newly_added_archive_is_read_and_the_rest_is_not_read_again(folder, logged, monkeypatch):
    monkeypatch.setattr(tree_module, '_LEAST_FILES_PER_TASK', 1)
    first = folder('sa1b')
    root = first.parent / 'archives'
    hidden = shutil.ignore_patterns('.*')
    shutil.copytree(first, root / 'sa_000000', ignore=hidden)
    assert len(SA1B(data_root=str(root))) == 3
    shutil.copytree(first, root / 'sa_000001', ignore=hidden)
    monkeypatch.setattr('concurrent.futures.ProcessPoolExecutor', OneProcessPool)
    read, real = [], sa1b_module.annotation_columns
    monkeypatch.setattr(sa1b_module, 'annotation_columns', lambda content: read.append(1) or real(content))
    assert len(SA1B(data_root=str(root))) == 6
    assert len(read) == 3
    assert 'is stale and is brought up to date: sa_000001/sa_000000.json is new' in logged()


def test_a_file_that_changes_after_the_table_was_made_is_a_broken_record(folder):
    """In a tree too large to look at every file, or while a run goes on."""
    root = folder('sa1b')
    dataset = SA1B(data_root=str(root))
    path = root / 'sa_000000.json'
    content = json.loads(path.read_text())
    content['annotations'].reverse()
    path.write_text(json.dumps(content))
    assert 'sa_000000.json is not as it was when the table of masks was made' in dataset[0].reason
    assert not hasattr(dataset[1], 'reason')


def test_a_table_of_another_version_or_damaged_is_made_anew(folder, logged):
    root = folder('sa1b')
    table = SA1B(data_root=str(root)).open_table()
    info = table.folder / 'table.json'
    good = info.read_text()
    for text, said in (
        (json.dumps(json.loads(good) | {'version': 99}), 'the table has version 99, needed 1'),
        (json.dumps(json.loads(good) | {'arguments': {'a': 1}}), "the table was made with {'a': 1}"),
        (good[:50], 'table.json is damaged'),
    ):
        info.write_text(text)
        assert len(SA1B(data_root=str(root))) == 3
        assert said in logged()
        assert json.loads(info.read_text()) == json.loads(good)
    part = table.parts[0]
    whole = part.read_bytes()
    part.write_bytes(whole[:-100])
    assert len(SA1B(data_root=str(root))) == 3
    assert f'{part.name} of the table is damaged' in logged()
    part.write_bytes(whole)
    chunk = pq.read_metadata(part).row_group(0).column(SCHEMA.names.index('reference'))
    end = (chunk.dictionary_page_offset or chunk.data_page_offset) + chunk.total_compressed_size
    for position in range(end - 6, end):  # values, and not what zstd needs to find its way
        changed = bytearray(whole)
        changed[position] ^= 1
        part.write_bytes(changed)
        with pytest.raises(ValueError, match=r'parquet is damaged .*Remove .*; the table is then made anew'):
            SA1B(data_root=str(root), mask_filter=dict(min_area_ratio=0.001))


# ---------------------------------------------------------------- by whom


@dataclass(frozen=True)
class Slow(FileTree):
    """Three parts of one file each; notes in ``read.txt`` beside the root what is read."""

    KIND, PATTERN = 'slow', '*.txt'

    def tasks(self, listing):
        return [[row] for row in range(len(listing.names))]

    def read(self, names):
        with Path(f'{self.root}.read').open('a') as file:
            file.write(f'{names[0]}\n')
        if (Path(self.root) / 'interrupt').exists() and names == ['2.txt']:
            raise KeyboardInterrupt
        rows = MaskRows()
        rows.add(record=names[0], reference='x')
        return rows.part()


@pytest.fixture
def slow(tmp_path):
    root = tmp_path / 'slow'
    root.mkdir()
    for i in range(3):
        (root / f'{i}.txt').write_text(str(i))
    return root


def read_files(root):
    return Path(f'{root}.read').read_text().split()


def _open_at_once(root, barrier, queue):
    barrier.wait(60)
    table = open_table(Slow(str(root)), [root.parent / 'table'], 60, num_workers=1)
    chosen = table.select(['reference'], timeout=60)
    queue.put([row['record'] for row in chosen])


def test_processes_that_start_at_once_make_one_table(slow, monkeypatch):
    real = table_module.build_table

    def build_and_note(source, folder, num_workers):
        with (slow.parent / 'built').open('a') as file:
            file.write('x')
        real(source, folder, num_workers)

    monkeypatch.setattr(table_module, 'build_table', build_and_note)
    context = multiprocessing.get_context('fork')
    barrier, queue = context.Barrier(4), context.Queue()
    children = [context.Process(target=_open_at_once, args=(slow, barrier, queue)) for _ in range(4)]
    for child in children:
        child.start()
    assert [queue.get(timeout=300) for _ in children] == [['0.txt', '1.txt', '2.txt']] * 4
    for child in children:
        child.join(300)
    assert (slow.parent / 'built').read_text() == 'x'
    assert read_files(slow) == ['0.txt', '1.txt', '2.txt']


def test_one_that_waits_too_long_says_for_what_and_what_to_do(slow, logged):
    folder = slow.parent / 'table'
    folder.mkdir()
    with (
        FileLock(folder / '.lock'),
        pytest.raises(TimeoutError, match=r'waited 0\.3 s for another process that writes .*table.*Do this'),
    ):
        open_table(Slow(str(slow)), [folder], 0.3, 'Do this.')
    assert f'Another process is writing {folder}; waiting for it, up to 0.3 s' in logged()


def test_other_ranks_let_rank_0_begin(slow, monkeypatch):
    waited = []
    monkeypatch.setattr(table_module.time, 'sleep', waited.append)
    for rank in (0, 1):
        monkeypatch.setattr(table_module, 'get_rank', lambda rank=rank: rank)
        open_table(Slow(str(slow)), [slow.parent / f'table{rank}'], 60)
    assert waited == [table_module._HEAD_START_SECONDS]


def test_an_interrupted_build_goes_on(slow):
    (slow / 'interrupt').touch()
    with pytest.raises(KeyboardInterrupt):
        open_table(Slow(str(slow)), [slow.parent / 'table'], 60, num_workers=1)
    assert not (slow.parent / 'table' / 'table.json').exists()
    (slow / 'interrupt').unlink()
    table = open_table(Slow(str(slow)), [slow.parent / 'table'], 60, num_workers=1)
    assert table.info['records'] == 3
    assert read_files(slow) == ['0.txt', '1.txt', '2.txt', '2.txt']
    (slow / '1.txt').write_text('changed')
    open_table(Slow(str(slow)), [slow.parent / 'table'], 60, num_workers=1)
    assert read_files(slow)[4:] == ['1.txt']
    assert len(list((slow.parent / 'table' / 'parts').iterdir())) == 3, 'the part of the old file is gone'


def test_workers_make_the_same_table(slow):
    alone, together = (
        open_table(Slow(str(slow)), [slow.parent / f'table{count}'], 60, num_workers=count)
        for count in (1, 2)
    )
    assert alone.info == together.info


# ---------------------------------------------------------------- where


def refuse(folder, monkeypatch):
    """Nothing can be made below a folder; a mode would not keep out the tests of an administrator."""
    real = Path.mkdir

    def mkdir(path, *args, **kwargs):
        if Path(os.path.abspath(path)).is_relative_to(folder):
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, 'mkdir', mkdir)


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_the_table_of_a_root_that_cannot_be_written_to_is_in_the_cache(
    folder, tmp_path, monkeypatch, name, kind
):
    root = folder(name)
    shutil.rmtree(root / '.mask_index', ignore_errors=True)
    refuse(root, monkeypatch)
    monkeypatch.setenv(place.CACHE_VARIABLE, str(tmp_path / 'cache'))
    assert len(all_records(kind(data_root=str(root)))) == 3
    assert not (root / '.mask_index').exists()
    [table] = (tmp_path / 'cache' / 'mask_index').glob(f'{name}-*/{name}-*/table.json')
    made = files_below(table.parent)
    assert len(kind(data_root=str(root))) == 3
    assert files_below(table.parent) == made


def test_where_nothing_can_be_written_the_setting_is_named(folder, tmp_path, monkeypatch):
    root = folder('sa1b')
    shutil.rmtree(root / '.mask_index', ignore_errors=True)
    (tmp_path / 'cache').write_text('a file')
    refuse(root, monkeypatch)
    monkeypatch.setenv(place.CACHE_VARIABLE, str(tmp_path / 'cache'))
    with pytest.raises(OSError, match=r'cannot be written to .*sa1b.* or .*cache.*Set index_dir of the'):
        SA1B(data_root=str(root))
    elsewhere = tmp_path / 'elsewhere'
    assert len(SA1B(data_root=str(root), index_dir=str(elsewhere))) == 3
    assert list(elsewhere.glob('sa1b-*/table.json'))


def test_a_table_among_the_data_is_no_data(folder):
    root = folder('sa1b')
    for _ in range(2):
        dataset = SA1B(data_root=str(root), index_dir='tables', mask_filter=dict(min_area_ratio=0.001))
        assert len(dataset) == 3
        assert (root / 'tables').is_dir()
        (root / 'sa_000001.json').touch()  # so that the table is made again


def test_a_table_made_elsewhere_is_used_where_nothing_can_be_written(folder, tmp_path, monkeypatch):
    """Its selections go to the cache: the filter may be another."""
    root = folder('sa1b')
    SA1B(data_root=str(root))
    made = files_below(root / '.mask_index')
    monkeypatch.setenv(place.CACHE_VARIABLE, str(tmp_path / 'cache'))
    real = Path.touch
    monkeypatch.setattr(
        Path, 'touch', lambda path: real(path) if path.is_relative_to(tmp_path / 'cache') else refused(path)
    )
    assert len(SA1B(data_root=str(root), mask_filter=dict(min_area_ratio=0.001))) == 3
    assert files_below(root / '.mask_index') == made
    assert list((tmp_path / 'cache').rglob('selection-*.arrow'))


def refused(path):
    raise OSError(30, 'Read-only file system', str(path))


def test_the_table_of_one_argument_is_not_taken_for_anothers(tmp_path):
    assert place.candidates(tmp_path, 'here', 'a')[0] == tmp_path / 'here' / 'a'
    source = SA1BFiles(str(tmp_path))
    assert source.task_key(list_tree(tmp_path, '*')) == SA1BFiles('elsewhere').task_key(
        list_tree(tmp_path, '*')
    ), 'a root may be moved'


def test_a_table_tells_what_it_was_made_from(folder):
    table = RefCOCO(data_root=str(folder('refcoco'))).open_table()
    info = json.loads((table.folder / 'table.json').read_text())
    assert info['version'] == 1
    assert info['arguments'] == {
        'files': ['refs(unc).p', 'instances.json'], 'split': 'train', 'no_target': 'skip'
    }  # fmt: skip
    assert set(info['listing']['files']) == {'refs(unc).p', 'instances.json'}
    assert isinstance(MaskTable(table.folder).parts[0], Path)
