"""A pack is written with bounded memory, keeps RLEs as they are, and can be added to."""

import concurrent.futures
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from projects.mask_caption_sft.datasets import SA1B, PackedRegions, SAVPairs, lazy_masks
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding, PackTask, encoding_loss
from projects.mask_caption_sft.datasets.packs.write import names_in_pack, write_pack
from projects.mask_caption_sft.datasets.parallel import in_order
from tests.one_process import OneProcessPool


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', OneProcessPool)


class CountingPool(OneProcessPool):
    """Knows how many tasks were begun."""

    begun = 0

    def submit(self, function, *args):
        CountingPool.begun += 1
        return super().submit(function, *args)


def test_workers_are_at_most_so_many_results_ahead(monkeypatch):
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', CountingPool)
    monkeypatch.setattr(CountingPool, 'begun', 0)
    results = in_order(lambda number: 10 * number, range(50), num_workers=2, ahead=5)
    ahead = [CountingPool.begun - taken for taken, _ in enumerate(results, start=1)]
    assert max(ahead) == 4  # and the one that was just taken
    assert list(in_order(lambda number: 10 * number, range(50), 2)) == [10 * i for i in range(50)]


def test_results_of_real_processes_come_in_order():
    assert list(in_order(abs, range(-9, 0), 2, ahead=3)) == list(range(9, 0, -1))


def note(path: Path) -> None:
    path.touch()


@pytest.fixture
def _a_handler_that_only_takes_note():
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as a training's
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures('_a_handler_that_only_takes_note')
def test_workers_end_when_no_more_results_are_taken_though_they_inherit_a_handler(tmp_path):
    """At once, too: a worker that is told to end before it has begun hung the suite."""
    for number in range(20):
        results = in_order(note, [tmp_path / f'{number}-{task}' for task in range(100)], 2, ahead=5)
        next(results)
        results.close()
        assert len(list(tmp_path.glob(f'{number}-*'))) < 10  # not the tasks that nobody waits for
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_an_error_and_no_wait_without_end():
    with pytest.raises(RuntimeError, match='killed, most likely because memory ran out'):
        list(in_order(os._exit, [1, 1, 1], 2))


def names(folder):
    dataset = PackedRegions(data_root=str(folder))
    return [dataset.get_data_info(i)['sample_id'] for i in range(len(dataset))]


def pack(dataset, out, rows=None, source=None, append=False):
    rows = range(len(dataset)) if rows is None else rows
    task = PackTask(dataset, FrameEncoding('png'))
    return write_pack(out, rows, task, source or {'of': type(dataset).__name__}, append=append)


@pytest.mark.usefixtures('one_process')
def test_rles_are_stored_as_they_were_read_and_nothing_is_decoded(written, tmp_path, monkeypatch):
    dataset = SA1B(data_root=str(written / 'sa1b'), max_masks=None)

    def refuse(*_):
        raise AssertionError('a mask was decoded')

    monkeypatch.setattr(lazy_masks.coco_mask, 'decode', refuse)
    assert pack(dataset, tmp_path)['broken'] == 0
    packed = PackedRegions(data_root=str(tmp_path), max_masks=None)
    for i, path in enumerate(sorted((written / 'sa1b').glob('sa_*.json'))[:3]):
        content = json.loads(path.read_text())
        rles = [annotation['segmentation'] for annotation in content['annotations']]
        assert packed.read_packed(i).views[0].masks == rles


@pytest.mark.usefixtures('one_process')
def test_a_pack_is_added_to(written, tmp_path):
    sav = SAVPairs(data_root=str(written / 'sav'))
    sa1b = SA1B(data_root=str(written / 'sa1b'), max_masks=None)
    pack(sav, tmp_path, range(2))
    first = names(tmp_path)
    with pytest.raises(ValueError, match=r'or with other options\. Remove it, pack elsewhere, or add to it'):
        pack(sav, tmp_path)
    done = names_in_pack(tmp_path)
    rows = [i for i in range(3) if sav.short_id(sav.get_data_info(i)['sample_id']) not in done]
    assert rows == [2]
    assert pack(sav, tmp_path, rows, append=True)['records'] == 3
    manifest = pack(sa1b, tmp_path, append=True)
    assert manifest['records'] == 6
    assert (manifest['source'], manifest['appended']) == ({'of': 'SAVPairs'}, [{'of': 'SA1B'}])
    assert names(tmp_path)[:2] == first
    assert len(set(names(tmp_path))) == 6
    packed = PackedRegions(data_root=str(tmp_path), max_masks=None)
    for dataset, start in ((sav, 0), (sa1b, 3)):
        for i in range(3):
            before = dataset.read_record(dataset.get_data_info(i))
            after = packed.read_record(packed.get_data_info(start + i))
            assert np.array_equal(before.view1.image, after.view1.image)
            assert np.array_equal(before.view1.masks, after.view1.masks)
    assert encoding_loss(sa1b, packed)['mean_abs_error'] == 0


class Stop(Exception):  # noqa: N818
    pass


@pytest.mark.usefixtures('one_process')
def test_an_addition_that_was_interrupted_goes_on_and_is_not_read_before(written, tmp_path, monkeypatch):
    monkeypatch.setattr('projects.mask_caption_sft.datasets.packs.write._TASKS_PER_COMMIT', 1)
    sav, sa1b = SAVPairs(data_root=str(written / 'sav')), SA1B(data_root=str(written / 'sa1b'))
    pack(sav, tmp_path)
    task, read = PackTask(sa1b, FrameEncoding('png')), []

    def stops(row):
        if row == 1:
            raise Stop
        return task(row)

    with pytest.raises(Stop):
        write_pack(tmp_path, range(3), stops, {'of': 'SA1B'}, append=True)
    with pytest.raises(FileNotFoundError, match='it continues where it stopped'):
        PackedRegions(data_root=str(tmp_path))
    with pytest.raises(ValueError, match='Finish it first: call again as it was begun'):
        pack(sav, tmp_path, range(1), append=True)
    write_pack(tmp_path, range(3), lambda row: read.append(row) or task(row), {'of': 'SA1B'}, append=True)
    assert read == [1, 2]
    assert len(names(tmp_path)) == 6
