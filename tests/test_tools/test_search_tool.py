"""Two trials of two updates on the tiny world."""

import re
import sys

import pytest

pytest.importorskip('optuna', reason='the search is an extra: requirements-search.txt')

from tests.workplace import ROOT, SHORT

pytestmark = pytest.mark.slow


def test_two_short_trials_give_a_table_and_can_be_continued(workplace):
    tool = [sys.executable, str(ROOT / 'tools' / 'search.py')]
    config = str(ROOT / 'configs' / 'mask_caption_sft_tiny_search.py')
    short = [*SHORT, 'train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'model.predict_answers=given',
             'default_hooks.checkpoint.save_best=mask_cycle_given/second_view_iou',
             'default_hooks.early_stopping.monitor=mask_cycle_given/second_view_iou',
             'val_dataloader.dataset.datasets.refcoco_val=None',
             'val_dataloader.dataset.datasets.sa1b_val=None']  # fmt: skip
    args = ['--out', 'searched', '--cfg-options', *short]
    result = workplace.call(*tool, config, '--trials', '2', *args)
    rows = re.findall(r'^\| \d \| complete \| 0\.\d+ \|', result.stdout, re.M)
    assert len(rows) == 2
    assert (workplace.folder / 'searched' / 'trials.md').read_text().count('complete') == 2
    again = workplace.call(*tool, config, '--trials', '2', *args)
    assert again.stdout == result.stdout
