"""The report of a run in headless Chromium."""

import numpy as np
import pytest
from PIL import Image

from projects.mask_caption_sft.reporting.html_report import html_report
from projects.mask_caption_sft.reporting.run_log import read_run
from projects.mask_caption_sft.reporting.run_record import RunRecord
from tests.browser import opened, overflow
from tests.test_reporting.test_reports import write_run

pytestmark = pytest.mark.slow
#: Wider than any window: a command without spaces to break it at, as a list of options is.
COMMAND = 'python tools/train.py --cfg-options ' + '.'.join(['train_dataloader'] * 20)


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    """Of a report whose every part is long or large."""
    folder = write_run(tmp_path_factory.mktemp('runs') / '_'.join(['a_long_name'] * 20), 0.5)
    RunRecord(
        command=COMMAND, commit='0123456789ab', started=1e9, ended=1e9 + 60, environment={'GPU': 'x' * 300}
    ).save(folder / '20261124_000000')
    Image.fromarray(np.zeros((50, 3000, 3), np.uint8)).save(
        folder / '20261124_000000' / 'vis_data' / 'vis_image' / 'samples_10.png'
    )
    page = folder / 'report.html'
    page.write_text(html_report(read_run(folder)))
    return page.as_uri()


@pytest.mark.parametrize('width', [400, 1400])
def test_the_page_fits_its_window_and_every_picture_is_drawn(address, tmp_path, width):
    with opened(address, tmp_path, width) as (page, seen):
        assert page.locator('h2').first.inner_text() == 'Verdict'
        assert overflow(page) <= 0
        drawn = page.evaluate('[...document.images].map(image => image.complete && image.naturalWidth)')
        assert len(drawn) >= 6
        assert all(drawn)
        assert seen.errors == []
        assert seen.hosts == {''}


def test_the_numbers_stand_where_a_reader_looks_for_them(address, tmp_path):
    with opened(address, tmp_path) as (page, _):
        row = page.get_by_role('row').filter(has_text='mask_cycle/second_view_iou')
        assert row.get_by_role('cell').all_inner_texts() == ['mask_cycle/second_view_iou', '0.300', '0.500']
        assert COMMAND in page.get_by_role('table').first.inner_text()
