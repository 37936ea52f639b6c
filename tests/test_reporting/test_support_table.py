"""README names the checkpoints that configs train, and no other."""

from pathlib import Path

import pytest

from projects.mask_caption_sft.reporting.support_table import support_table
from projects.mask_caption_sft.sa2va.released_sizes import NAMES


@pytest.fixture(scope='module')
def table():
    return support_table('configs')


def test_every_released_checkpoint_has_a_config(table):
    assert [row.split(' | ')[0].removeprefix('| ') for row in table.splitlines()[2:]] == list(NAMES)


def test_the_plain_config_is_named(table):
    assert '`configs/mask_caption_sft_4b.py`' in table
    assert '| Sa2VA-26B | InternVL on InternLM2 | InternViT, 45 layers x 3200 | SAM 2 |' in table
    assert 'layers x 1024 | SAM 3 | `qwen_chat` | `configs/mask_caption_sft_qwen3_vl_4b_sam3.py` |' in table


def test_readme_has_this_table(table):
    """`python -m projects.mask_caption_sft.reporting.support_table` prints it."""
    assert table in Path('README.md').read_text()


def test_a_checkpoint_without_a_config_has_no_row(tmp_path):
    (tmp_path / 'mine.py').write_text("model = dict(sa2va=dict(base='pretrained/Sa2VA-8B'))\n")
    (tmp_path / 'mine_longer.py').write_text("model = dict(sa2va=dict(base='pretrained/Sa2VA-8B'))\n")
    (tmp_path / 'own.py').write_text("model = dict(sa2va=dict(base='work_dirs/own'))\n")
    rows = support_table(tmp_path).splitlines()[2:]
    assert len(rows) == 1
    assert rows[0].endswith('mine.py` |')
