"""Shared settings: one thread per test process, and the recorded data when it is there."""

import gc
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.real_tokenizer import real_tokenizer as build_real_tokenizer
from tests.small_run import small_run
from tests.trained_miniature import Trained, make_trained

SHARED = Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(scope='session', autouse=True)
def _few_threads():
    torch.set_num_threads(1)


@pytest.fixture(scope='session', autouse=True)
def _libraries_are_no_garbage():
    """Each of MMEngine's datasets collects garbage; going through what torch made takes 0.3 seconds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """In every test, whichever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(autouse=True)
def _same_signal_handlers():
    """After a training that a test broke off, too."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The folder of recorded numbers and real samples beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f'{SHARED} is not on this machine')
    return SHARED


@pytest.fixture(scope='session')
def _run_of_two(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('finished') / 'run'
    small_run(folder, 2)
    return folder


@pytest.fixture
def run_of_two(_run_of_two, tmp_path) -> Path:
    """A small run's work dir after two iterations, to be changed."""
    return shutil.copytree(_run_of_two, tmp_path / 'run')


@pytest.fixture(scope='session')
def real_tokenizer() -> PreTrainedTokenizerFast:
    """Sa2VA-4B's own vocabulary; not to be changed."""
    return build_real_tokenizer()


@pytest.fixture(scope='session')
def trained_miniature(tmp_path_factory) -> Trained:
    """A miniature model after a short training, with its base and its checkpoint; not to be changed."""
    return make_trained(tmp_path_factory.mktemp('trained'))
