"""Frozen weights are the mapped file itself: nothing is drawn at random, copied or written back."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import LORA, SIZES


@pytest.fixture
def base(tmp_path):
    write_base(new_sa2va(3, SIZES), tmp_path / 'base')
    return tmp_path / 'base'


def mapped_ranges(path: Path) -> list[range]:
    """Addresses at which this process has mapped a file."""
    lines = [line.split() for line in Path('/proc/self/maps').read_text().splitlines()]
    bounds = [line[0].split('-') for line in lines if line[-1] == str(path.resolve())]
    return [range(int(low, 16), int(high, 16)) for low, high in bounds]


class BigDraws(TorchDispatchMode):
    """Notes every draw of more than a thousand random numbers that takes memory."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        is_draw = any(word in str(function) for word in ('normal', 'uniform', 'rand'))
        if is_draw and isinstance(result, torch.Tensor) and result.numel() > 1000 and not result.is_meta:
            self.found.append(f'{function} {tuple(result.shape)}')
        return result


@pytest.mark.skipif(not Path('/proc/self/maps').exists(), reason='reads /proc')
def test_every_frozen_parameter_lies_in_the_file_and_no_trained_one_does(base):
    model = MaskCaptionSFT(dict(base=str(base), lora=LORA), {})
    places = mapped_ranges(base / 'model.safetensors')
    assert places
    stacked = 'prompt_encoder.point_embed'  # four tensors of one row, joined
    for name, parameter in model.named_parameters():
        lies_in_file = any(parameter.data_ptr() in place for place in places)
        is_frozen = not parameter.requires_grad and not name.startswith('teacher.')
        assert lies_in_file == (is_frozen and stacked not in name), name


def test_nothing_is_drawn_at_random_but_lora(base):
    with BigDraws() as draws:
        Sa2VA(base)
    assert draws.found == []
    with BigDraws() as draws:
        new_sa2va(3, SIZES)
    assert draws.found != []


def test_nothing_is_left_without_a_value_and_buffers_are_computed(base):
    given, found = new_sa2va(3, SIZES), Sa2VA(base)
    assert not any(tensor.is_meta for tensor in (*found.parameters(), *found.buffers()))
    buffers = dict(found.named_buffers())
    assert 'mllm.model.language_model.rotary_emb.inv_freq' in buffers
    for name, buffer in given.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


def test_a_value_that_is_written_stays_in_the_process(base):
    before = hashlib.sha256((base / 'model.safetensors').read_bytes()).digest()
    model = Sa2VA(base, lora=LORA)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert hashlib.sha256((base / 'model.safetensors').read_bytes()).digest() == before
    head = 'language_model.lm_head.weight'
    assert torch.equal(model.mllm.lm_head.weight, load_file(base / 'model.safetensors')[head] + 1.0)
    assert torch.equal(Sa2VA(base).mllm.lm_head.weight, load_file(base / 'model.safetensors')[head])


def test_all_weights_can_be_trained_from_the_file(base):
    model = Sa2VA(base, train_all=True)
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.text_hidden_fcs(torch.ones(1, SIZES['llm_width'])).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()


def test_a_base_that_lacks_a_tensor_is_refused_as_before(base):
    tensors = load_file(base / 'model.safetensors')
    del tensors['mlp1.1.weight']
    save_file(tensors, base / 'model.safetensors')
    with pytest.raises(ValueError, match=r'missing: mlp1\.1\.weight'):
        Sa2VA(base)
