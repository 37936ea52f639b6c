"""The traps are real: a careless reader springs each of them."""

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from projects.mask_caption_sft.chaos import hostile_files
from projects.mask_caption_sft.tiny_world.world import write_world
from tests.small_run import small_run


@pytest.fixture(scope='module')
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('world')
    write_world(folder, num_train=1, num_val=1)
    return folder


def test_a_checkpoint_that_is_unpickled_runs_code(tmp_path):
    path, trap = tmp_path / 'iter_1.pth', tmp_path / 'trap'
    hostile_files.pickle_that_runs(path, trap)
    torch.load(path, weights_only=False)
    assert trap.exists()


def test_a_checkpoint_whose_config_is_executed_runs_code(tmp_path):
    small_run(tmp_path / 'run', 1)
    path, trap = tmp_path / 'run' / 'iter_1.pth', tmp_path / 'trap'
    hostile_files.config_that_runs(path, trap)
    exec(torch.load(path, weights_only=True)['meta']['config'])
    assert trap.exists()


def test_frames_and_expressions_that_are_unpickled_run_code(world, tmp_path):
    hostile_files.pairs_of_pickles(world, tmp_path / 'frames')
    hostile_files.refs_that_run(world, tmp_path / 'refs')
    path = next((world / 'train' / 'sav').rglob('*.npz'))
    np.load(path, allow_pickle=True)['frame1']
    assert (tmp_path / 'frames').exists()
    pickle.loads((world / 'refcoco' / 'refs(unc).p').read_bytes())
    assert (tmp_path / 'refs').exists()


def test_masks_outside_the_folder_are_there_to_be_read(world, tmp_path):
    hostile_files.masks_elsewhere(world, tmp_path)
    root = world / 'train' / 'openimages'
    with (root / 'train-annotations-object-segmentation.csv').open(newline='') as file:
        names = [row['MaskPath'] for row in csv.DictReader(file)]
    assert names
    assert all((root / 'masks' / 'train' / name).is_file() for name in names)
