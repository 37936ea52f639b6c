"""What would crash pycocotools, and the process with it, is refused before."""

import subprocess
import sys

import numpy as np
import pytest

from projects.mask_caption_sft.ops.mask import decode_segmentation, encode_rle
from projects.mask_caption_sft.ops.segmentation_checks import check_counts, decompress_counts

SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]


@pytest.mark.parametrize('value', [1e9, -1e9, 1e300, float('inf'), float('nan'), 10**400])
def test_a_coordinate_far_outside_is_named(value):
    with pytest.raises(ValueError, match=r'a polygon (has coordinates from|holds something else)'):
        decode_segmentation([[1, 1, 5, 1, value, 5, 1, 5]], 8, 8)


def test_the_process_survives():
    """Without the check this ended with a segmentation fault."""
    code = (
        'from projects.mask_caption_sft.ops.mask import decode_segmentation\n'
        'for value in (1e9, 1e300, float("inf")):\n'
        '    try:\n'
        '        decode_segmentation([[1, 1, 5, 1, value, 5, 1, 5]], 8, 8)\n'
        '    except ValueError:\n'
        '        print("refused")\n'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, 'refused\n' * 3)


@pytest.mark.parametrize('polygon', [[1, 1, 5, 1, 5, 5, 1], [[1, 1], [5, 1], [5, 5], [1, 5], [1, 1], [2, 2]]])
def test_what_is_no_list_of_pairs_is_named(polygon):
    with pytest.raises(ValueError, match='is not a flat list of x, y pairs'):
        decode_segmentation([polygon], 8, 8)


def test_a_polygon_that_leaves_its_image_a_little_is_clipped_as_before():
    assert decode_segmentation([[-2, -2, 5, -2, 5, 5, -2, 5]], 8, 8).sum() == 25
    assert decode_segmentation([SQUARE], 8, 8).sum() == 16


NUMBERS = [[-1, 65], [10, 10], [64, 10**12], [2**63 - 1, 65], [1.5, 62.5], ['a'], [[64]]]
TEXTS = ['0', 'o' * 20, '~', b'\xff']


@pytest.mark.parametrize('counts', [*NUMBERS, *TEXTS])
def test_counts_that_do_not_fill_the_image_are_named(counts):
    with pytest.raises(ValueError, match='counts of an RLE'):
        decode_segmentation({'size': [8, 8], 'counts': counts}, 8, 8)


def test_the_compressed_form_is_read_as_pycocotools_reads_it():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.01, 0.3, 0.7, 1.0):
        mask = rng.random((37, 61)) < density
        rle = encode_rle(mask)
        flat = mask.flatten(order='F')
        edges = np.flatnonzero(np.diff(flat)) + 1
        lengths = np.diff([0, *edges, len(flat)]).tolist()
        expected = [0, *lengths] if flat[0] else lengths
        assert decompress_counts(rle['counts']).tolist() == expected
        check_counts(rle['counts'], 37, 61)
        assert np.array_equal(decode_segmentation(rle, 37, 61), mask)


def test_a_large_image_of_few_runs():
    """Runs of more than 2^20 pixels take five groups of bits."""
    mask = np.zeros((1500, 2000), bool)
    mask[:, 1000:] = True
    assert decompress_counts(encode_rle(mask)['counts']).tolist() == [1_500_000, 1_500_000]
