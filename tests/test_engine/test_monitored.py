"""A run does not wait for a metric that its validation will give another name."""

import re

import pytest
from mmengine.config import Config

from projects.mask_caption_sft.engine.monitored import check_monitored

BEST, EARLY = 'default_hooks.checkpoint.save_best', 'default_hooks.early_stopping.monitor'


def config(save_best='mask_cycle/second_view_iou', monitor='mask_cycle/second_view_iou', **model) -> Config:
    found = Config.fromfile('configs/mask_caption_sft_tiny.py')
    found.default_hooks.checkpoint.update(save_best=save_best)
    found.default_hooks.early_stopping.update(monitor=monitor)
    found.model.update(model)
    return found


@pytest.mark.parametrize(
    ('settings', 'prefix'),
    [
        (dict(predict_captions=4), 'mask_cycle_best_of_4'),
        (dict(predict_answers='given'), 'mask_cycle_given'),
        (dict(predict_captions=4, predict_answers='given'), 'mask_cycle_best_of_4_given'),
    ],
)
def test_both_hooks_are_named_with_what_to_set(settings, prefix):
    with pytest.raises(ValueError, match='will not be measured') as error:
        check_monitored(config(**settings))
    for key in (BEST, EARLY):
        assert f'{key}=mask_cycle/second_view_iou' in str(error.value)
    assert re.search(
        f'Set {BEST}={prefix}/second_view_iou {EARLY}={prefix}/second_view_iou$', str(error.value)
    )
    right = f'{prefix}/second_view_iou'
    check_monitored(config(save_best=right, monitor=right, **settings))


def test_a_name_that_the_setting_does_not_touch_will_do():
    check_monitored(config('ref_seg/cIoU', ['ref_seg/cIoU'], predict_captions=4))
    check_monitored(config('auto', None, predict_captions=4))
    check_monitored(config())


def test_a_name_of_another_measurement_is_refused_too():
    with pytest.raises(ValueError, match=rf'Set {BEST}=ref_seg/cIoU$'):
        check_monitored(config(save_best=['ref_seg_given/cIoU']))


def test_a_run_that_does_not_validate_waits_for_nothing():
    found = config(predict_captions=4)
    found.val_evaluator = None
    check_monitored(found)
