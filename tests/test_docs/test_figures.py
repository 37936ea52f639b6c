"""Thresholds, settings and sizes that the documents name are those of the code."""

import re
from dataclasses import asdict

import pytest
from mmengine.config import Config

from projects.mask_caption_sft.engine.flat_config import flat
from projects.mask_caption_sft.loop.cheat_signs import ADVICE, CheatLimits
from projects.mask_caption_sft.reporting import verdict
from tests.workplace import ROOT

FIRST_HOUR = (ROOT / 'docs' / 'first_hour.md').read_text()
ROWS = [line for line in FIRST_HOUR.splitlines() if line.startswith('| ')]
LIMITS = asdict(CheatLimits())


def row_of(sign: str) -> str:
    (row,) = [row for row in ROWS if row.startswith(f'| **{sign}**')]
    return row


@pytest.mark.parametrize('sign', ADVICE)
def test_the_table_of_signals_has_each_sign_with_the_limit_of_the_code(sign):
    cells = row_of(sign).split('|')
    (limit,) = [value for name, value in LIMITS.items() if name.startswith(sign)]
    assert re.search(rf'\b{limit:g}\b', cells[3]), cells[3]
    changed = set(re.findall(r'`([\w.]+)`', cells[4]))
    advised = set(re.findall(r'(?:model|optim_wrapper|train_dataloader)\.[\w.]+\w', ADVICE[sign][1]))
    assert changed & advised or 'human expressions' in cells[4], (changed, advised)


def test_the_limits_of_the_verdict_are_those_of_the_code():
    assert f'moved by less than {verdict.MOVED:g}' in FIRST_HOUR
    assert f'fell by {verdict.MOVED:g} or more' in FIRST_HOUR
    assert f'fewer than {verdict.FEW_TAUGHT:.0%}'.replace('%', ' %') in FIRST_HOUR
    assert f'Fewer than {verdict.FEW_REGIONS}\n' in FIRST_HOUR


def test_every_setting_that_is_to_be_changed_exists_in_the_4b_config():
    known = flat(Config.fromfile(ROOT / 'configs' / 'mask_caption_sft_4b.py', format_python_code=False))
    groups = ('model.', 'optim_wrapper.', 'train_dataloader.', 'default_hooks.')
    named = [name for name in re.findall(r'`([\w.]+)`', FIRST_HOUR) if name.startswith(groups)]
    assert len(named) >= 10
    for name in named:
        assert any(key == name or key.startswith(f'{name}.') for key in known), name


def test_each_set_of_expressions_has_a_size_of_its_own():
    """142,209 is RefCOCO's alone."""
    (row,) = [
        line for line in (ROOT / 'docs' / 'datasets.md').read_text().splitlines()
        if line.startswith('| RefCOCO')
    ]  # fmt: skip
    names, sizes = row.split(' | ')[0], row.split(' | ')[4]
    assert len(names.split(', ')) == len(re.findall(r'\d+,\d{3}', sizes)) == 3


def test_pictures_and_pages_that_are_linked_exist():
    for page in [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').glob('*.md')]:
        text = page.read_text()
        for target in re.findall(r'\]\(([^)]+)\)', text):
            if '://' in target:
                continue
            name, _, anchor = target.partition('#')
            path = page.parent / name if name else page
            assert path.exists(), f'{page.name}: {target}'
            if anchor:
                headings = re.findall(r'^#+ (.*)$', path.read_text(), re.M)
                assert anchor in {as_anchor(heading) for heading in headings}, f'{page.name}: {target}'


def as_anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def test_pictures_are_small():
    for path in (ROOT / 'docs' / 'images').iterdir():
        assert path.stat().st_size < 300_000, path
