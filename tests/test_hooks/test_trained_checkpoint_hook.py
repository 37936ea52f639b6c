"""The best checkpoint is chosen by a metric that validation reports."""

import pytest

from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook


def test_a_metric_of_written_answers_is_not_looked_for_among_given_ones():
    hook = TrainedCheckpointHook(save_best='mask_cycle/second_view_iou', rule='greater')
    hook.key_indicators, hook.rules = ['mask_cycle/second_view_iou'], ['greater']
    with pytest.raises(ValueError, match=r"is not among the metrics \['mask_cycle_given/second_view_iou'\]"):
        hook._save_best_checkpoint(None, {'mask_cycle_given/second_view_iou': 0.5})
