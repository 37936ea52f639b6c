"""``tools/train.py CONFIG --data PATH`` on folders as users have them."""

import json
import math
import sys

import pytest

from tests.own_data import write_coco, write_mask_folder, write_videos
from tests.workplace import CONFIG, ROOT

pytestmark = pytest.mark.slow
OPTIONS = (
    'train_dataloader.batch_size=2', 'val_dataloader.batch_size=2', 'default_hooks.logger.interval=1',
    'model.signal_interval=2', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
    'model.objectives.segment_captions.gate_iou=0.0',
)  # fmt: skip
LAYOUTS = {
    'mask_video': (lambda root: write_videos(root, 3, 4), '3 videos; 12 images with 12 mask files'),
    'coco': (lambda root: write_coco(root, 6), r'instances.json; 6 images; 30% held out for validation'),
    'mask_folder': (lambda root: write_mask_folder(root, 6), '6 images with '),
}


def train(workplace, *args, check=True):
    tool = str(ROOT / 'tools' / 'train.py')
    return workplace.call(sys.executable, tool, str(CONFIG), '--val-share', '0.3', *args, check=check)


@pytest.mark.parametrize('layout', list(LAYOUTS))
def test_two_updates_and_a_validation_on_data_of_ones_own(workplace, layout):
    write, said = LAYOUTS[layout]
    write(workplace.folder / 'own' / layout)
    work_dir = f'own_{layout}'
    result = train(workplace, '--data', f'own/{layout}', '--work-dir', work_dir, '--cfg-options', *OPTIONS)
    assert f'--data own/{layout}: {layout} (' in result.stderr
    assert said in result.stderr
    rows = workplace.scalars(work_dir)
    updates = [row for row in rows if 'loss' in row]
    assert len(updates) == 2
    # Captions that are worse than their group's mean are unlearned: that part may lie below 0.
    assert all(row['loss'] - row.get('loss_weighted', 0.0) > 0 for row in updates)
    assert all(math.isfinite(row['loss']) and row['grad_norm'] > 0 for row in updates)
    [*_, validation] = [row for row in rows if 'mask_cycle/second_view_iou' in row]
    assert validation['mask_cycle/counted'] > 0
    assert 'truth/true' not in validation
    [log] = (workplace.folder / work_dir).glob('*/*.log')
    assert 'data ' in log.read_text().split('passes per epoch')[1].splitlines()[1]
    assert list((workplace.folder / work_dir).glob('iter_2.pth'))


def test_the_dry_run_beside_the_mix_shows_the_shares_and_the_weak_texts(workplace):
    write_coco(workplace.folder / 'own' / 'beside', 6)
    result = train(
        workplace, '--data', 'own/beside', '--mix-share', '0.75', '--class-names', '--dry-run',
        '--work-dir', 'own_beside', '--cfg-options', *OPTIONS,
    )  # fmt: skip
    assert 'train_dataloader.dataset.datasets.data: ' in result.stdout
    assert "expressions: ['bow'" in result.stdout
    assert 'val_dataloader.dataset.datasets.data_val: ' in result.stdout
    assert 'train_dataloader.dataset.datasets.sav: ' in result.stdout
    printed = train(workplace, '--data', 'own/beside', '--mix-share', '0.75', '--print-config').stdout
    assert 'train_dataloader.dataset.datasets.data.weight=2' in printed.replace("'", '')


def test_verify_reads_data_of_ones_own(workplace):
    write_mask_folder(workplace.folder / 'own' / 'verified', 4)
    mask = sorted((workplace.folder / 'own' / 'verified' / 'masks').glob('*.png'))[0]
    mask.write_bytes(b'')
    tool = str(ROOT / 'tools' / 'verify_datasets.py')
    result = workplace.call(
        sys.executable, tool, str(CONFIG), '--data', 'own/verified', '--out', 'verified', check=False
    )
    assert result.returncode == 1
    report = json.loads((workplace.folder / 'verified' / 'report.json').read_text())['datasets']['data']
    assert report['faults'] == {'unreadable': 1}
    assert mask.name in report['broken_records'][0][0]
