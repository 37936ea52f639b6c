"""Tensors that are several native ones: cut and joined, and LoRA on a part of them."""

import pytest
import torch
from safetensors.torch import load_file

from projects.mask_caption_sft.backbones.language_models.internlm2 import HeadGroups
from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.trained_tensors import from_ours, from_upstream
from projects.mask_caption_sft.checkpoints.upstream_file import upstream_state
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.family_bases import write_family_base
from tests.miniature import LORA, with_live_lora

WQKV = 'language_model.model.layers.1.attention.wqkv.weight'


def test_two_groups_of_two_queries_by_hand():
    """Heads of one row: q0 q1 k0 v0 of the first group, q2 q3 k1 v1 of the second."""
    layout = HeadGroups(num_groups=2, head_width=1)
    whole = torch.tensor([[0.0], [1], [10], [20], [2], [3], [11], [21]])
    q, k, v = layout.cut(whole, 3)
    assert q.flatten().tolist() == [0, 1, 2, 3]
    assert k.flatten().tolist() == [10, 11]
    assert v.flatten().tolist() == [20, 21]
    assert torch.equal(layout.join([q, k, v]), whole)


def test_a_bias_is_cut_like_its_matrix():
    layout, bias = HeadGroups(num_groups=2, head_width=3), torch.arange(24.0)
    assert torch.equal(layout.join(layout.cut(bias, 3)), bias)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_family_base('internlm2', tmp_path_factory.mktemp('base'))


@pytest.fixture(scope='module')
def trained(base):
    return with_live_lora(Sa2VA(base, lora=LORA), 0).eval()


def states(model: Sa2VA) -> torch.Tensor:
    return model.states([model.embed_ids(torch.arange(3, 20))])[0]


def test_the_export_of_lora_on_q_k_and_v_is_the_live_model(base, trained, tmp_path):
    state = {f'student.{name}': tensor for name, tensor in trained.trained_state_dict().items()}
    tensors = from_ours(state, 'student', trained.lora_scaling, trained.key_map)
    assert len(tensors.parts) == 2  # layers, each with LoRA on three parts of one tensor
    export(base, tensors, tmp_path / 'out', str)
    before, after = (load_file(folder / 'model.safetensors') for folder in (base, tmp_path / 'out'))
    assert before.keys() == after.keys()
    assert before[WQKV].shape == after[WQKV].shape
    assert not torch.equal(before[WQKV], after[WQKV])
    torch.testing.assert_close(states(Sa2VA(tmp_path / 'out').eval()), states(trained), rtol=0, atol=1e-5)
    assert not torch.allclose(states(Sa2VA(base).eval()), states(trained), atol=1e-3)


def test_upstreams_lora_is_on_the_whole_matrix(base, tmp_path):
    """Its trainer wraps ``wqkv`` itself."""
    stored = load_file(base / 'model.safetensors')[WQKV]
    down, up = torch.randn(4, stored.shape[1]), torch.randn(stored.shape[0], 4)
    wrapper = 'mllm.model.language_model.base_model.model.model.layers.1.attention.wqkv'
    state = {f'{wrapper}.lora_A.default.weight': down, f'{wrapper}.lora_B.default.weight': up}
    export(base, from_upstream(state, 2.0), tmp_path / 'out', str)
    found = load_file(tmp_path / 'out' / 'model.safetensors')[WQKV]
    torch.testing.assert_close(found, stored + 2 * up @ down)


def test_upstreams_first_trainer_finds_what_it_wraps_under_base_layer(base):
    state = upstream_state(base, 'v1')
    wrapper = 'mllm.model.language_model.base_model.model.model.layers.0.'
    wrapped = ('attention.wqkv', 'attention.wo', 'feed_forward.w1', 'feed_forward.w2', 'feed_forward.w3')
    assert all(f'{wrapper}{name}.base_layer.weight' in state for name in wrapped)
    assert f'{wrapper}ffn_norm.weight' in state
