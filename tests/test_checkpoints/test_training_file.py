"""Files under their final name are always whole, and safe to load."""

import io

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.engine.atomic_backend import AtomicBackend
from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook


def test_bytes_arrive_and_no_other_file_is_left(tmp_path):
    AtomicBackend().put(b'new', tmp_path / 'folder' / 'iter_1.pth')
    assert [path.name for path in (tmp_path / 'folder').iterdir()] == ['iter_1.pth']
    assert (tmp_path / 'folder' / 'iter_1.pth').read_bytes() == b'new'


@pytest.mark.parametrize('step', ['os.fsync', 'os.replace'])
def test_a_crash_while_writing_leaves_what_was_there(tmp_path, monkeypatch, step):
    target = tmp_path / 'iter_1.pth'
    target.write_bytes(b'old')

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match='No space left'):
        AtomicBackend().put(b'new', target)
    assert target.read_bytes() == b'old'
    assert [path.name for path in tmp_path.iterdir()] == ['iter_1.pth']


def test_log_histories_survive_a_safe_load():
    buffer = HistoryBuffer([1.0, 2.0, 3.0], [1, 1, 1], max_length=7)
    checkpoint = {'message_hub': {'log_scalars': {'train/loss': buffer}}, 'meta': {}}
    model = torch.nn.Module()
    model.student = torch.nn.Module()
    model.student.base, model.student.base_fingerprint = 'somewhere', 'ab12'
    model.student.lora_scaling = 2.0
    runner = type('Runner', (), {'model': model, 'train_loop': None})()
    hook = TrainedCheckpointHook()
    hook.before_save_checkpoint(runner, checkpoint)
    file = io.BytesIO()
    torch.save(checkpoint, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    hook.after_load_checkpoint(runner, loaded)
    restored = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(restored, HistoryBuffer)
    assert restored.data[0].tolist() == [1.0, 2.0, 3.0]
    assert loaded['meta']['sa2va']['base'] == 'somewhere'


def test_numpy_scalars_load_and_code_does_not():
    allow_checkpoint_globals()
    for value, loads in ((np.float64(1.5), True), (print, False)):
        file = io.BytesIO()
        torch.save({'value': value}, file)
        file.seek(0)
        if loads:
            assert torch.load(file, weights_only=True)['value'] == 1.5
        else:
            with pytest.raises(Exception, match='Unsupported global'):
                torch.load(file, weights_only=True)
