"""Each bound of a filter, and what it is fed with."""

import json

import numpy as np
import pytest

from projects.mask_caption_sft.datasets import SA1B
from projects.mask_caption_sft.datasets.formats.openimages_table import box_columns
from projects.mask_caption_sft.datasets.formats.sa1b import annotation_columns
from projects.mask_caption_sft.datasets.index.mask_filter import MaskFilter
from projects.mask_caption_sft.ops.mask import encode_rle

COLUMNS = {
    'area_ratio': np.array([0.0, 0.1, 0.5, 0.9]),
    'predicted_iou': np.array([0.9, 0.8, 0.9, 0.7]),
    'stability_score': np.array([0.9, 0.95, 0.8, 0.9]),
    'touches_border': np.array([False, True, False, False]),
}


@pytest.mark.parametrize(
    ('bounds', 'passes'),
    [
        ({}, [1, 2, 3]),
        ({'min_area_ratio': 0.5}, [2, 3]),
        ({'max_area_ratio': 0.5}, [1, 2]),
        ({'min_predicted_iou': 0.8}, [1, 2]),
        ({'min_stability_score': 0.9}, [1, 3]),
        ({'drop_border': True}, [2, 3]),
        ({'drop_border': True, 'max_area_ratio': 0.6}, [2]),
    ],
)
def test_each_bound_by_hand(bounds, passes):
    assert np.flatnonzero(MaskFilter(**bounds).passes(COLUMNS)).tolist() == passes


def annotation(x, y, width, height):
    return {'bbox': [x, y, width, height], 'area': width * height}


def test_a_mask_of_sa1b_touches_the_border_within_a_pixel():
    boxes = [(5, 5, 5, 5), (1, 5, 5, 5), (5, 1, 5, 5), (44, 5, 5, 5), (5, 34, 5, 5), (42, 32, 5, 5)]
    content = {'image': {'height': 40, 'width': 50}, 'annotations': [annotation(*box) for box in boxes]}
    columns = annotation_columns(content)
    assert columns['box'][0].tolist() == [5 / 50, 5 / 40, 10 / 50, 10 / 40]
    assert columns['touches_border'].tolist() == [False, True, True, True, True, False]
    assert columns['area_ratio'].tolist() == pytest.approx([25 / 2000] * 6)


def test_a_box_of_openimages_touches_the_border_where_it_reaches_0_or_1():
    boxes = [(0.1, 0.5, 0.2, 0.4), (0.0, 0.5, 0.2, 0.4), (0.1, 1.0, 0.2, 0.4), (0.1, 0.5, 0.2, 1.0)]
    columns = box_columns(*np.array(boxes).T, np.full(4, 0.8))
    assert columns['touches_border'].tolist() == [False, True, True, True]
    assert columns['area_ratio'][0] == pytest.approx(0.4 * 0.2)


def test_a_mask_at_the_border_is_not_read(folder):
    path = sorted(folder('sa1b').glob('*.json'))[0]
    content = json.loads(path.read_text())
    image, annotations = content['image'], content['annotations']
    mask = np.zeros((image['height'], image['width']), bool)
    mask[:10, 5:15] = True
    moved = {'segmentation': encode_rle(mask), 'bbox': [5, 0, 10, 10], 'area': 100}
    annotations[1] = annotations[1] | moved
    path.write_text(json.dumps(content))

    def read(**bounds):
        dataset = SA1B(data_root=str(path.parent), max_masks=None, mask_filter=bounds)
        return dataset.read_record(dataset.get_data_info(0)).view1.masks

    everything, inside = read(), read(drop_border=True)
    assert np.array_equal(everything[1], mask)
    assert np.array_equal(inside, np.delete(everything, 1, axis=0))
