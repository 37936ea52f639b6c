"""Every form of a COCO segmentation, resizing and overlap."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from projects.mask_caption_sft.ops.mask import decode_segmentation, encode_rle, mask_iou, resize_masks

HEIGHT, WIDTH = 6, 8


def box(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def corners(top, left, bottom, right):
    return [left, top, right, top, right, bottom, left, bottom]


FIRST, SECOND = (1, 2, 4, 5), (2, 3, 6, 7)
BOTH = box(*FIRST) | box(*SECOND)
COMPRESSED = encode_rle(BOTH)
UNCOMPRESSED = {'size': [HEIGHT, WIDTH], 'counts': [13, 3, 3, 3, 3, 3, 20]}


@pytest.mark.parametrize(
    ('segmentation', 'expected'),
    [
        ([corners(*FIRST)], box(*FIRST)),
        ([corners(*FIRST), corners(*SECOND)], BOTH),
        (COMPRESSED, BOTH),
        ({**COMPRESSED, 'counts': COMPRESSED['counts'].encode()}, BOTH),
        (UNCOMPRESSED, box(*FIRST)),
        ([encode_rle(box(*FIRST)), encode_rle(box(*SECOND))], BOTH),
        ([encode_rle(box(*FIRST)), [corners(*SECOND)]], BOTH),
        ([], box(0, 0, 0, 0)),
        ([[1, 1, 2, 2]], box(0, 0, 0, 0)),
    ],
)
def test_each_form_by_hand(segmentation, expected):
    mask = decode_segmentation(segmentation, HEIGHT, WIDTH)
    assert mask.dtype == bool
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ({'size': [8, 6], 'counts': 'x'}, r'the RLE is of size \[8, 6\], the image of \[6, 8\]'),
        (7, 'a segmentation of type int is neither polygons nor RLE'),
        ({'size': [6, 8]}, 'a segmentation of type dict is neither'),
        ([COMPRESSED, 7], 'a segmentation of type int is neither'),
    ],
)
def test_what_is_no_segmentation_is_named(segmentation, message):
    with pytest.raises(ValueError, match=message):
        decode_segmentation(segmentation, HEIGHT, WIDTH)


def test_encoding_is_pycocotools_and_goes_back():
    assert np.array_equal(coco_mask.decode(COMPRESSED).astype(bool), BOTH)
    assert np.array_equal(decode_segmentation(COMPRESSED, HEIGHT, WIDTH), BOTH)


def test_masks_of_several_sizes_are_resized_by_nearest():
    small = torch.tensor([[True, False], [False, False]])
    resized = resize_masks([small, torch.ones(4, 4, dtype=torch.bool)], (4, 4))
    assert resized.dtype == torch.bool
    assert resized[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert resized[1].all()
    assert resize_masks([], (4, 4)).shape == (0, 4, 4)


def test_iou_by_hand_and_two_empty_masks_agree():
    empty = np.zeros((HEIGHT, WIDTH), bool)
    first = torch.from_numpy(np.stack([box(*FIRST), box(*FIRST), empty, empty]))
    second = torch.from_numpy(np.stack([box(*SECOND), box(*FIRST), box(*FIRST), empty]))
    assert mask_iou(first, second).tolist() == pytest.approx([4 / 21, 1.0, 0.0, 1.0])
