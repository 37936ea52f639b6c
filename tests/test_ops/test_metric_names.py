"""The name of a metric says how it was measured."""

import pytest

from projects.mask_caption_sft.ops.metric_names import measured_how, measured_name, own_name


@pytest.mark.parametrize(
    ('name', 'how', 'settings'),
    [
        ('mask_cycle', '', dict()),
        ('mask_cycle_given', 'answers given', dict(is_given=True)),
        ('mask_cycle_best_of_4', 'best of 4 captions', dict(best_of=4)),
        (
            'mask_cycle_best_of_16_given',
            'best of 16 captions, answers given',
            dict(best_of=16, is_given=True),
        ),
    ],
)
def test_what_is_written_into_a_name_is_read_from_it(name, how, settings):
    assert measured_name('mask_cycle', **settings) == name
    assert own_name(f'{name}/blank_iou') == 'mask_cycle/blank_iou'
    assert measured_how([f'{name}/blank_iou', 'ref_seg/cIoU', 'data_time']) == how


@pytest.mark.parametrize(
    'name', ['signal/empty_best_ratio', 'best_of_k/given_ratio', 'loss', 'given/x_given_y']
)
def test_other_names_stay_as_they_are(name):
    assert own_name(name) == name
    assert measured_how([name]) == ''
