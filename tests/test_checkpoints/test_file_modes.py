"""Whoever the umask lets read a file can read what we write."""

import os
from pathlib import Path

import pytest
import torch

from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.trained_tensors import TrainedTensors
from projects.mask_caption_sft.engine.atomic_backend import AtomicBackend
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import SIZES


@pytest.fixture(
    params=[(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)], ids=['group reads', 'group writes', 'own']
)
def mode(request):
    """The mode of a new file, under the umask that gives it."""
    umask, mode = request.param
    before = os.umask(umask)
    yield mode
    os.umask(before)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob('*') if path.is_file()}


def test_a_base_and_its_export_have_the_mode_of_new_files(tmp_path, mode):
    write_base(new_sa2va(0, SIZES), tmp_path / 'base')
    assert modes(tmp_path / 'base') == {mode}
    for private in ('model.safetensors', 'config.json'):
        (tmp_path / 'base' / private).chmod(0o600)
    (tmp_path / 'base' / 'folder').mkdir()
    (tmp_path / 'base' / 'folder' / 'file.txt').write_text('theirs')
    (tmp_path / 'base' / 'folder' / 'file.txt').chmod(0o600)
    trained = TrainedTensors(replaced={'text_hidden_fcs.2.bias': torch.ones(SIZES['grounding_width'])})
    export(tmp_path / 'base', trained, tmp_path / 'out', str)
    assert modes(tmp_path / 'out') == {mode}


def test_so_has_a_training_checkpoint(tmp_path, mode):
    AtomicBackend().put(b'weights', tmp_path / 'iter_1.pth')
    with AtomicBackend().replacing(tmp_path / 'upstream.pth') as temporary:
        torch.save({'state_dict': {}}, temporary)
    assert modes(tmp_path) == {mode}
