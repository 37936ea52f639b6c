"""The data tools in two shells, and the merge."""

import json
import shutil
import sys

import pytest

from tests.workplace import CONFIG, ROOT, Workplace

pytestmark = pytest.mark.slow


@pytest.fixture
def place(workplace, tmp_path) -> Workplace:
    # Without the tables that other tests have built.
    shutil.copytree(
        workplace.folder / 'data', tmp_path / 'data', ignore=shutil.ignore_patterns('.mask_index')
    )
    return Workplace(tmp_path)


def call(place, name: str, *args: str, status: int = 0) -> str:
    result = place.call(sys.executable, str(ROOT / 'tools' / name), *args, check=False)
    assert result.returncode == status, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout + result.stderr


def test_a_pack(place):
    tool = ('pack_dataset.py', str(CONFIG), 'sav', 'out')
    call(place, *tool, '--shard', '2/2')
    said = call(place, *tool, '--merge', '2', status=1)
    assert 'error: out: 1 of 2 shards are missing or not finished: 1/2' in said
    call(place, *tool, '--shard', '1/2')
    assert '"records": 6' in call(place, *tool, '--merge', '2')
    assert 'error: --append adds to a whole pack' in call(
        place, *tool, '--append', '--shard', '1/2', status=1
    )
    assert "error: --shard '3' is not I/N" in call(place, *tool, '--shard', '3', status=1)


def test_a_report_with_validation_and_a_leak(place):
    world = place.folder / 'data' / 'tiny_world'
    shutil.copy(
        world / 'train' / 'sav' / 'part_000' / 'masklet_data_00000.npz', world / 'val' / 'sav' / 'part_000'
    )
    tool = ('verify_datasets.py', str(CONFIG), '--val', '--only', 'sav', 'sav_val')
    call(place, *tool, '--shard', '1/2')
    said = call(place, *tool, '--merge', '2', status=1)
    assert 'error: sav: sav: 1 of 2 shards are missing or not finished: 2/2' in said
    call(place, *tool, '--shard', '2/2')
    said = call(place, *tool, '--merge', '2', status=1)
    assert 'LEAK: 1 of sav_val are in sav too: ' in said
    report = json.loads((place.folder / 'work_dirs' / 'verify' / 'report.json').read_text())
    assert report['datasets']['sav']['records'] == report['datasets']['sav']['read'] == 6
    card = (place.folder / 'work_dirs' / 'verify' / 'data_card.md').read_text()
    assert '| sav | 6 | 6 | 0 | 6 |' in card
    assert '1 of sav_val are in sav too' in card


def test_tables(place):
    tool = ('build_index.py', str(CONFIG), '--only', 'sa1b', 'refcoco')
    assert 'error: --only sa1 names no dataset' in call(place, *tool[:2], '--only', 'sa1', status=1)
    assert 'sa1b: 0 of 1 parts of the table are there' in call(place, *tool, '--shard', '2/2')
    said = call(place, *tool, '--merge', '2', status=1)
    assert 'error: sa1b: 1 parts of the table are missing: 6 files from sa_000000.json on' in said
    call(place, *tool, '--shard', '1/2')
    assert 'sa1b: 6 records' in call(place, *tool, '--merge', '2')
