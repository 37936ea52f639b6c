"""The records that may be drawn, against plain arrays."""

import pickle
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from projects.mask_caption_sft.datasets.index import selection as selection_module
from projects.mask_caption_sft.datasets.index.listing import Listing
from projects.mask_caption_sft.datasets.index.mask_filter import MaskFilter
from projects.mask_caption_sft.datasets.index.schema import SCHEMA, TablePart
from projects.mask_caption_sft.datasets.index.source import TableSource
from projects.mask_caption_sft.datasets.index.table import open_table

RNG = np.random.default_rng(0)
IMAGE_OF = np.repeat(np.arange(500), RNG.integers(1, 6, 500))
AREA, IOU = RNG.random((2, len(IMAGE_OF))).astype(np.float32)


@dataclass(frozen=True)
class Numbers(TableSource):
    """500 images with one to five masks each, in seven parts."""

    KIND = 'numbers'

    def list_files(self):
        return Listing([f'image{i:03d}' for i in range(500)], np.zeros((500, 2), np.int64))

    def tasks(self, listing):
        return [list(rows) for rows in np.array_split(np.arange(500), 7)]

    def read(self, names):
        mine = np.isin(IMAGE_OF, [int(name[5:]) for name in names])
        known = {
            'record': [f'image{i:03d}' for i in IMAGE_OF[mine]],
            'reference': [str(row) for row in np.flatnonzero(mine)],
            'area_ratio': AREA[mine], 'predicted_iou': IOU[mine],
            'stability_score': np.ones(mine.sum()), 'touches_border': AREA[mine] > 0.9,
        }  # fmt: skip
        columns = [pa.array(known.get(f.name, [None] * int(mine.sum())), f.type) for f in SCHEMA]
        return TablePart(pa.table(columns, schema=SCHEMA), [(f'broken{names[0]}', 'damaged')])


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(selection_module, '_RECORDS_PER_BATCH', 16)
    return open_table(Numbers(str(tmp_path)), [tmp_path / 'table'], 60, num_workers=1)


FILTER = MaskFilter(min_area_ratio=0.2, max_area_ratio=0.6, min_predicted_iou=0.7)


def test_records_are_those_with_a_mask_that_passes(table):
    assert (table.info['records'], table.info['masks'], len(table.faults)) == (500, len(IMAGE_OF), 7)
    good = (AREA >= 0.2) & (AREA <= 0.6) & (IOU >= 0.7)
    first = IMAGE_OF[good][0]
    expected = sorted(set(IMAGE_OF[good].tolist()) - {first})
    skipped = {f'image{first:03d}', 'unknown'}
    for _ in range(2):  # written, and opened again
        chosen = table.select(['reference'], FILTER, skipped)
        assert [row['record'] for row in chosen] == [f'image{i:03d}' for i in expected]
        for i, row in zip(expected, chosen):
            assert row['reference'] == [str(mask) for mask in np.flatnonzero(good & (i == IMAGE_OF))]
    assert len(list(table.folder.glob('selection-*.arrow'))) == 1
    assert chosen[-1] == chosen[len(chosen) - 1]
    with pytest.raises(IndexError):
        chosen[len(chosen)]


@pytest.mark.parametrize('limit', [0, 1, 15, 16, 17, 100, 499, 500, 501])
def test_a_limit_takes_the_first_records(table, limit):
    chosen = table.select(['reference'], None, limit=limit)
    assert [row['record'] for row in chosen] == [f'image{i:03d}' for i in range(min(limit, 500))]
    assert chosen.column('reference').type == pa.list_(pa.string())


def test_a_filter_that_nothing_passes_selects_nothing(table):
    assert len(table.select(['reference'], MaskFilter(min_area_ratio=2.0))) == 0


def test_a_selection_travels_to_a_worker_by_its_path(table):
    chosen = table.select(['reference'])
    data = pickle.dumps(chosen)
    assert len(data) < 500
    assert pickle.loads(data)[3] == chosen[3]


def test_an_open_selection_takes_no_memory_of_its_own(table):
    chosen = table.select(['reference'])
    before = pa.total_allocated_bytes()
    again = selection_module.Selection(chosen.path)
    assert [again[i]['record'] for i in range(0, 500, 50)]
    assert pa.total_allocated_bytes() - before < 10_000
