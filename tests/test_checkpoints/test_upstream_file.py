"""Upstream's training files, of both its trainers: what they hold is read, what they read is written."""

import json
import shutil
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from projects.mask_caption_sft.checkpoints.config import read_config
from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.key_map import key_map_of
from projects.mask_caption_sft.checkpoints.trained_tensors import from_upstream
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint, trained_tensors
from projects.mask_caption_sft.checkpoints.upstream_file import upstream_state

DATA = Path(__file__).parents[1] / 'data'
SAM = 'grounding_encoder.sam2_model.'
LANGUAGE_MODEL = 'mllm.model.language_model.'
LORA = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
SCALING = 2.0


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """A small base of upstream's with every tensor that a released one has, SAM 2's memory included."""
    folder = shutil.copytree(DATA / 'upstream_small', tmp_path_factory.mktemp('released') / 'base')
    released_4b = [line.split()[0] for line in (DATA / 'sa2va_4b_tensors.txt').read_text().splitlines()]
    key_map = key_map_of(read_config(folder))
    memory = {name: torch.full((1,), 0.5) for name in released_4b if key_map.is_unused(name)}
    save_file(load_file(folder / 'model.safetensors') | memory, folder / 'model.safetensors')
    return folder


@pytest.fixture(scope='module')
def config(base):
    return json.loads((base / 'config.json').read_text())


def released(base) -> dict[str, torch.Tensor]:
    return load_file(base / 'model.safetensors')


# ---------------------------------------------------------------- upstream's trainer, built anew


class FuserBlock(nn.Module):
    """SAM 2's ConvNeXt block; its layer scale is ``gamma`` in SAM 2's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(4, 4, 7, groups=4), nn.LayerNorm(4)
        self.pwconv1, self.pwconv2 = nn.Linear(4, 16), nn.Linear(16, 4)
        self.gamma = nn.Parameter(torch.ones(4))


def language_model(config) -> Qwen2ForCausalLM:
    settings = {key: value for key, value in config['llm_config'].items() if key != 'torch_dtype'}
    return Qwen2ForCausalLM(Qwen2Config(**settings))


def with_lora(model: Qwen2ForCausalLM, **settings) -> PeftModel:
    lora = LoraConfig(r=2, lora_alpha=4, task_type='CAUSAL_LM', target_modules=LORA, **settings)
    return get_peft_model(model, lora)


def vision_names(num_layers: int) -> set[str]:
    """InternViT as InternVL's remote code names it."""
    names = {f'embeddings.{part}' for part in ('class_embedding', 'position_embedding')}
    names |= {f'embeddings.patch_embedding.{leaf}' for leaf in ('weight', 'bias')}
    for layer in range(num_layers):
        linear = ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2', 'norm1', 'norm2')
        parts = {f'{part}.{leaf}' for part in linear for leaf in ('weight', 'bias')} | {'ls1', 'ls2'}
        names |= {f'encoder.layers.{layer}.{part}' for part in parts}
    return names


def live_names(config, base, wrapped: bool) -> set[str]:
    """What ``load_state_dict`` of upstream's trainer finds a place for when it loads ``pretrained_pth``."""
    model = nn.Module()
    model.mllm = nn.Module()
    model.mllm.model = nn.Module()
    model.mllm.model.language_model = with_lora(language_model(config)) if wrapped else language_model(config)
    model.mllm.model.mlp1 = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4))
    model.text_hidden_fcs = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Dropout(0.0))
    names = {name for name in model.state_dict() if 'lora_' not in name}
    vision = vision_names(config['vision_config']['num_hidden_layers'])
    fuser = nn.ModuleList([FuserBlock(), FuserBlock()]).state_dict()
    names |= {f'mllm.model.vision_model.{name}' for name in vision}
    names |= {f'{SAM}memory_encoder.fuser.layers.{name}' for name in fuser}
    return names | {name for name in released(base) if name.startswith(SAM) and '.fuser.' not in name}


@pytest.mark.parametrize(('trainer', 'wrapped'), [('v1', True), ('v2', False)])
def test_the_names_written_are_all_that_the_live_trainer_has(base, config, trainer, wrapped):
    written = upstream_state(base, trainer)
    assert written.keys() == live_names(config, base, wrapped)
    assert len(written) == len(released(base))
    assert f'{SAM}memory_encoder.fuser.layers.1.gamma' in written
    assert not any('g_weight' in name for name in written)


@pytest.mark.parametrize('wrapped', [True, False])
def test_a_live_language_model_takes_every_value(base, config, wrapped):
    state = upstream_state(base, 'v1' if wrapped else 'v2')
    model = with_lora(language_model(config)) if wrapped else language_model(config)
    part = {k.removeprefix(LANGUAGE_MODEL): v for k, v in state.items() if k.startswith(LANGUAGE_MODEL)}
    missing, unexpected = model.load_state_dict(part, strict=False)
    assert not unexpected
    assert all('lora_' in name for name in missing)
    assert torch.equal(model.get_output_embeddings().weight, released(base)['language_model.lm_head.weight'])


@pytest.mark.parametrize('trainer', ['v1', 'v2'])
def test_the_way_there_and_back_loses_nothing(base, tmp_path, trainer):
    trained = from_upstream(upstream_state(base, trainer), SCALING)
    assert trained.names() == released(base).keys()
    export(base, trained, tmp_path / 'out', str, allow_unchanged=True)
    after = released(tmp_path / 'out')
    assert all(torch.equal(after[name], tensor) for name, tensor in released(base).items())


# ---------------------------------------------------------------- v2's files


@pytest.fixture
def v2(base, config):
    """v2's trainer after training: LoRA, and whole copies of embeddings and output matrix."""
    model = language_model(config)
    prefix = 'language_model.'
    part = {k.removeprefix(prefix): v for k, v in released(base).items() if k.startswith(prefix)}
    model.load_state_dict(part)
    model = with_lora(model, modules_to_save=['embed_tokens', 'lm_head'])
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'lora_B' in name or 'modules_to_save' in name:
                parameter.add_(0.1 * torch.randn(parameter.shape))
            if 'original_module' in name:
                parameter.fill_(torch.nan)  # whoever reads these is seen
    return model


def merged_by_peft(model: PeftModel) -> dict[str, torch.Tensor]:
    return {f'language_model.{name}': p for name, p in model.merge_and_unload().state_dict().items()}


@pytest.mark.parametrize('kept', ['what is trained', 'all of the language model'])
def test_modules_to_save_are_read_as_peft_merges_them(base, v2, tmp_path, kept):
    state = {LANGUAGE_MODEL + name: tensor for name, tensor in v2.state_dict().items()}
    if kept == 'what is trained':
        state = {name: t for name, t in state.items() if 'lora_' in name or 'modules_to_save' in name}
    assert f'{LANGUAGE_MODEL}base_model.model.lm_head.modules_to_save.default.weight' in state
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'iter_1.pth')
    key_map = key_map_of(read_config(base))
    trained = trained_tensors(read_checkpoint(tmp_path / 'iter_1.pth'), 'student', SCALING, key_map)
    export(base, trained, tmp_path / 'out', str)
    before, after = released(base), released(tmp_path / 'out')
    expected = merged_by_peft(v2)
    for name, tensor in before.items():
        torch.testing.assert_close(
            after[name], expected.get(name, tensor).to(tensor.dtype), rtol=0, atol=1e-6
        )
    for name in ('model.embed_tokens', 'lm_head', 'model.layers.0.mlp.up_proj'):
        assert not torch.equal(
            after[f'language_model.{name}.weight'], before[f'language_model.{name}.weight']
        )


def test_a_part_the_layout_has_no_place_for_is_not_taken_for_another_base(base, tmp_path):
    trained = from_upstream({'text_exist_fcs.0.weight': torch.ones(1)}, SCALING)
    with pytest.raises(
        ValueError, match=r'text_exist_fcs.*or has a part that the released layout has no place'
    ):
        export(base, trained, tmp_path / 'out', str)


# ---------------------------------------------------------------- the file around the tensors


def test_the_log_that_mmengine_keeps_in_a_checkpoint_is_no_obstacle(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1], max_length=10)
    hub = dict(log_scalars=OrderedDict(loss=history), runtime_info=OrderedDict(iter=1, lr=np.float64(1e-5)))
    content = dict(meta=dict(cfg='lr = 1', seed=1), state_dict={'a': torch.ones(1)}, message_hub=hub)
    torch.save(content, tmp_path / 'iter_1.pth')
    found = read_checkpoint(tmp_path / 'iter_1.pth')
    assert found['state_dict']['a'].tolist() == [1.0]
    assert found['message_hub']['runtime_info']['lr'] == 1e-5


def test_what_stands_in_for_that_log_lets_nothing_else_in(tmp_path):
    """A file that looks up an attribute gets nothing, so there is nothing that it could call."""

    class Harmful:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    torch.save({'state_dict': {}, 'found': Harmful()}, tmp_path / 'harmful.pth')
    assert read_checkpoint(tmp_path / 'harmful.pth')['found'] is None


def test_numpy_of_version_1_is_read_as_well(tmp_path, monkeypatch):
    """There the same functions lay in ``numpy.core``."""
    from numpy._core import multiarray

    for function in (multiarray._reconstruct, multiarray.scalar):
        monkeypatch.setattr(function, '__module__', 'numpy.core.multiarray', raising=False)
    torch.save({'state_dict': {}, 'array': np.ones(2), 'number': np.float64(3)}, tmp_path / 'old.pth')
    monkeypatch.undo()
    assert b'numpy.core.multiarray' in (tmp_path / 'old.pth').read_bytes()
    found = read_checkpoint(tmp_path / 'old.pth')
    assert found['array'].tolist() == [1.0, 1.0]
    assert found['number'] == 3


def test_a_folder_of_deepspeed_is_told_from_a_missing_file(tmp_path):
    (tmp_path / 'iter_1.pth').mkdir()
    with pytest.raises(
        ValueError, match=r'iter_1\.pth is a folder, not a file; DeepSpeed .* zero_to_fp32\.py'
    ):
        read_checkpoint(tmp_path / 'iter_1.pth')
