"""One short training that several tests look at."""

import pytest

from tests.trained_miniature import Trained, make_trained


@pytest.fixture(scope='session')
def trained_miniature(tmp_path_factory) -> Trained:
    return make_trained(tmp_path_factory.mktemp('trained'))
