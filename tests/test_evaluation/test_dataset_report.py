"""What ``verify_datasets`` finds in records, beside the faults that test_corruption makes."""

import json
from collections import Counter

import numpy as np
import pytest

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs
from projects.mask_caption_sft.evaluation.dataset_report import (
    InspectRecord,
    RecordFacts,
    _Quantiles,
    report_table,
    summarize,
)
from projects.mask_caption_sft.tiny_world import writers


def inspected(dataset):
    return summarize(map(InspectRecord(dataset), range(len(dataset))), len(dataset))


@pytest.mark.parametrize(('shift', 'outside'), [(0.0, 0), (-0.5, 0), (-500.0, 1), (500.0, 1)])
def test_a_polygon_that_leaves_the_image_is_counted(tmp_path, shift, outside):
    writers.write_refcoco(tmp_path, 2, 1, np.random.default_rng(0), limited=False)
    path = tmp_path / 'instances.json'
    content = json.loads(path.read_text())
    x, y = 10.0, 10.0
    triangle = [x + 1, y + 1, x + 4, y + 1, x + 1 + shift, y + 4]
    content['annotations'][0]['segmentation'] = [triangle]
    path.write_text(json.dumps(content))
    dataset = RefCOCO(data_root=str(tmp_path), every_expression=True)
    summary = inspected(dataset)
    assert summary['polygons_out_of_bounds'] == outside
    assert summary['broken'] == 0


def test_a_list_of_rles_has_no_polygon_to_leave_the_image(tmp_path):
    writers.write_refcoco(tmp_path, 2, 1, np.random.default_rng(0), limited=False)
    path = tmp_path / 'instances.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        annotation['segmentation'] = [annotation['segmentation']]
        assert 'counts' in annotation['segmentation'][0]
    path.write_text(json.dumps(content))
    summary = inspected(RefCOCO(data_root=str(tmp_path), every_expression=True))
    assert (summary['broken'], summary['polygons_out_of_bounds']) == (0, 0)


def test_an_unknown_label_is_a_kind_of_its_own(tmp_path):
    writers.write_openimages(tmp_path, 3, np.random.default_rng(0))
    table = tmp_path / 'train-annotations-object-segmentation.csv'
    lines = table.read_text().splitlines()
    cells = lines[1].split(',')
    cells[2] = '/m/unheard'
    lines[1] = ','.join(cells)
    table.write_text('\n'.join(lines) + '\n')
    assert inspected(OpenImages(data_root=str(tmp_path)))['faults'] == {'unknown label': 1}


def test_sizes_regions_and_areas_are_those_of_the_records(tmp_path):
    writers.write_sa1b(tmp_path, 2, np.random.default_rng(0))
    dataset = SA1B(data_root=str(tmp_path), max_masks=None)
    summary = inspected(dataset)
    samples = [dataset.read_record(dataset.get_data_info(i)) for i in range(2)]
    areas = np.concatenate([sample.view1.masks.mean(axis=(1, 2)) for sample in samples])
    assert summary['regions'] == len(areas)
    assert summary['area_ratio_0_5_50_95_100'] == pytest.approx(
        np.quantile(areas, [0, 0.05, 0.5, 0.95, 1]), abs=1e-5
    )
    shapes = [sample.view1.image.shape for sample in samples]
    assert summary['sizes'] == Counter(f'{width} x {height}' for height, width, _ in shapes)


def test_a_pair_with_one_hidden_object_is_an_empty_mask(tmp_path):
    writers.write_sav(tmp_path, 2, np.random.default_rng(0))
    path = sorted(tmp_path.rglob('*.npz'))[0]
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path.with_suffix(''), **arrays | {'mask2': arrays['mask2'] * 0})
    assert inspected(SAVPairs(data_root=str(tmp_path)))['faults'] == {'empty mask': 1}


def test_quantiles_of_a_long_stream_need_bounded_memory():
    quantiles = _Quantiles(most=1000)
    for start in range(0, 100_000, 7):
        quantiles.add(np.arange(start, min(start + 7, 100_000)).tolist())
    assert len(quantiles.kept) <= 1000
    assert np.diff(quantiles.kept).tolist() == [quantiles.stride] * (len(quantiles.kept) - 1)
    assert quantiles.at([0.05, 0.5, 0.95]) == pytest.approx([5_000, 50_000, 95_000], rel=0.02)


def test_the_table_names_the_first_faults_and_counts_the_rest():
    facts = [RecordFacts(f'record{i}', 'ValueError: the label is odd') for i in range(25)]
    table = report_table({'mine': summarize(facts, 25)})
    assert 'faults: {"unknown label": 25}' in table
    assert 'record19: ValueError' in table
    assert 'record20:' not in table
    assert 'and 5 more' in table
