"""Training on data of which a part is damaged."""

import json
import shutil

import numpy as np
import pytest

from tests.workplace import Workplace

pytestmark = pytest.mark.slow


@pytest.fixture
def damaged(workplace, tmp_path) -> Workplace:
    """The workplace with a file of each format damaged in another way."""
    shutil.copytree(workplace.folder / 'data', tmp_path / 'data')
    world = tmp_path / 'data' / 'tiny_world'
    patterns = (
        'train/sav/**/*.npz',
        'train/sa1b/*.json',
        'train/openimages/masks/**/*.png',
        'refcoco/**/*.jpg',
    )
    pair, annotations, mask, image = (sorted(world.glob(pattern))[0] for pattern in patterns)
    with np.load(pair) as file:
        arrays = dict(file)
    np.savez_compressed(pair.with_suffix(''), **arrays | {'frame1': arrays['frame1'] * np.nan})
    annotations.write_text(annotations.read_text()[:-50])
    mask.write_bytes(mask.read_bytes()[:40])
    image.write_bytes(b'')
    return Workplace(tmp_path)


#: Objectives that need captions; without them the run is short.
ON_CAPTIONS = ('weighted_captions', 'segment_captions', 'near_start')


def train(place, max_broken_ratio: float, check: bool = True):
    options = (
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        'train_dataloader.batch_size=4',
        *(f'model.objectives.{name}=None' for name in ON_CAPTIONS),
        'default_hooks.checkpoint.interval_updates=12',
        'custom_hooks.2.interval=100',
        'custom_hooks.1.min_records=10',
        f'custom_hooks.1.max_broken_ratio={max_broken_ratio}',
    )
    return place.train('run', 12, options=options, validate=False, check=check)


def test_training_goes_on_and_names_every_record(damaged):
    output = train(damaged, 0.9).stdout
    lines = (damaged.folder / 'run' / 'skipped_records.jsonl').read_text().splitlines()
    skipped = {record['sample_id']: record['reason'] for record in map(json.loads, lines)}
    names = ('sav', 'sa1b', 'openimages', 'refcoco')
    assert all(any(f'/{name}/' in sample_id for sample_id in skipped) for name in names)
    assert all(f'{sample_id}: {reason}' in output for sample_id, reason in skipped.items())
    assert 'Skipped ' in output
    assert (damaged.folder / 'run' / 'iter_12.pth').is_file()
    losses = [row['loss'] for row in damaged.scalars('run') if 'loss' in row]
    assert len(losses) == 12
    assert np.isfinite(losses).all()


def test_above_the_share_the_run_stops_with_the_list(damaged):
    result = train(damaged, 0.0, check=False)
    assert result.returncode != 0
    assert 'could not be read, beyond doubt more than max_broken_ratio=0.0' in result.stderr
    assert 'First of them: ' in result.stderr
    assert (damaged.folder / 'run' / 'skipped_records.jsonl').read_text()
