"""Shared settings: one thread per test process, and the recorded data when it is there."""

import gc
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.real_tokenizer import real_tokenizer as build_real_tokenizer

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


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The folder of recorded numbers and real samples beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f'{SHARED} is not on this machine')
    return SHARED


@pytest.fixture(scope='session')
def real_tokenizer() -> PreTrainedTokenizerFast:
    """Sa2VA-4B's own vocabulary; not to be changed."""
    return build_real_tokenizer()
