"""One short run that several tests look at."""

import pytest

from projects.mask_caption_sft.tiny_world.world import write_world
from tests.workplace import Workplace


@pytest.fixture(scope='session')
def workplace(tmp_path_factory) -> Workplace:
    folder = tmp_path_factory.mktemp('workplace')
    write_world(folder / 'data' / 'tiny_world', num_train=6, num_val=2)
    return Workplace(folder)


@pytest.fixture(scope='session')
def trained(workplace) -> Workplace:
    """The workplace after a run of four iterations in ``run``."""
    workplace.train('run', 4)
    return workplace
