"""The data tools as a user calls them."""

import json
import shutil
import sys

import pytest

from tests.workplace import CONFIG, ROOT, Workplace

pytestmark = pytest.mark.slow


@pytest.fixture
def place(workplace, tmp_path) -> Workplace:
    """A copy of the workplace that may be damaged."""
    shutil.copytree(workplace.folder / 'data', tmp_path / 'data')
    return Workplace(tmp_path)


def call(place, name: str, *args: str, status: int = 0):
    result = place.call(sys.executable, str(ROOT / 'tools' / name), *args, check=False)
    assert result.returncode == status, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


def test_verify_finds_the_broken_file_and_writes_a_skip_list_that_is_honoured(place):
    broken = sorted((place.folder / 'data' / 'tiny_world' / 'train' / 'sav').rglob('*.npz'))[2]
    broken.write_bytes(b'')
    output = call(place, 'verify_datasets.py', str(CONFIG), '--write-skip-list', status=1)
    assert f'part_000/{broken.name}: OSError: truncated or not an npz file' in output
    report = json.loads((place.folder / 'work_dirs' / 'verify' / 'report.json').read_text())['datasets']
    assert {name: report[name]['broken'] for name in report} == {
        'sav': 1, 'sa1b': 0, 'openimages': 0, 'refcoco': 0
    }  # fmt: skip
    assert report['sav']['faults'] == {'truncated': 1}
    assert report['refcoco']['texts'] > report['refcoco']['records']
    again = call(place, 'verify_datasets.py', str(CONFIG))
    assert 'leaves out 1 records' in again
    assert 'sav: 5 of 5 records' in again


def test_verify_finds_duplicates_and_missing_folders(place):
    pairs = place.folder / 'data' / 'tiny_world' / 'train' / 'sav' / 'part_000'
    shutil.copy(pairs / 'masklet_data_00000.npz', pairs / 'masklet_data_99999.npz')
    shutil.rmtree(place.folder / 'data' / 'tiny_world' / 'train' / 'sa1b')
    output = call(place, 'verify_datasets.py', str(CONFIG), status=1)
    report = json.loads((place.folder / 'work_dirs' / 'verify' / 'report.json').read_text())
    assert report['datasets']['sav']['duplicates'] == [
        ['part_000/masklet_data_00000.npz', 'part_000/masklet_data_99999.npz']
    ]
    assert 'error: sa1b: data/tiny_world/train/sa1b is missing' in output


def test_browse_writes_a_sheet_per_dataset(place):
    output = call(place, 'browse_dataset.py', str(CONFIG), '--num', '4')
    for name in ('sav', 'sa1b', 'openimages', 'refcoco'):
        assert (place.folder / 'work_dirs' / 'browse' / f'{name}.png').stat().st_size > 10_000
        assert f'{name}: 4 of 6 records' in output
    assert 'warning' not in output


def test_tables_are_made_before_a_run_for_all_datasets_that_can_be_found(place):
    elsewhere = place.folder / 'elsewhere'
    world = place.folder / 'data' / 'tiny_world'
    shutil.move(world / 'train' / 'openimages', elsewhere)
    option = f'train_dataloader.dataset.datasets.openimages.data_root={elsewhere}'
    output = call(place, 'build_index.py', str(CONFIG), '--cfg-options', option)
    for name in ('sav', 'sa1b', 'openimages', 'refcoco'):
        assert f'\n{name}: 6 records, ' in f'\n{output}'
    assert '\nrefcoco_val: 2 records, ' in output
    [table] = (world / 'train' / 'sa1b' / '.mask_index').glob('sa1b-*/table.json')
    made = table.stat().st_mtime_ns
    shutil.rmtree(elsewhere)
    again = place.call(
        sys.executable,
        str(ROOT / 'tools' / 'build_index.py'),
        str(CONFIG),
        '--cfg-options',
        option,
        check=False,
    )
    assert again.returncode == 1
    assert f'error: openimages: {elsewhere} is missing' in again.stderr
    assert 'sav_val: 2 records' in again.stdout
    assert table.stat().st_mtime_ns == made


def test_a_dataset_is_packed_and_its_loss_measured(place):
    output = call(place, 'pack_dataset.py', str(CONFIG), 'sav', 'packed')
    assert '"records": 6' in output
    assert 'pixels: mean absolute error' in output
    assert 'error: no dataset' in place.call(
        sys.executable, str(ROOT / 'tools' / 'pack_dataset.py'), str(CONFIG), 'nothing', 'out', check=False
    ).stderr  # fmt: skip
