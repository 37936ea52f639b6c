"""A small copy of each dataset's format on disk."""

import shutil

import numpy as np
import pytest

from projects.mask_caption_sft.tiny_world import writers


@pytest.fixture(scope='session')
def written(tmp_path_factory):
    """Three images or pairs of each dataset; read only."""
    root = tmp_path_factory.mktemp('written')
    writers.write_sav(root / 'sav', 3, np.random.default_rng(0))
    writers.write_sa1b(root / 'sa1b', 3, np.random.default_rng(1))
    writers.write_openimages(root / 'openimages', 3, np.random.default_rng(2))
    writers.write_refcoco(root / 'refcoco', 3, 2, np.random.default_rng(3), limited=False)
    return root


@pytest.fixture
def folder(written, tmp_path):
    """A copy that a test may damage: ``folder('sav')``."""

    def copy(name: str):
        return shutil.copytree(written / name, tmp_path / name)

    return copy
