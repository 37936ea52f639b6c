"""A base whose output matrix is its token embeddings, whether or not its file stores the matrix twice."""

import json
import shutil

import pytest
import torch
import transformers
from mmengine.optim import OptimWrapper
from safetensors.torch import load_file, save_file
from transformers import Qwen2ForCausalLM

from projects.mask_caption_sft.checkpoints import tied_embeddings
from projects.mask_caption_sft.checkpoints.config import read_config
from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.key_map import key_map_of
from projects.mask_caption_sft.checkpoints.trained_tensors import TrainedTensors, from_upstream
from projects.mask_caption_sft.checkpoints.training_file import trained_tensors
from projects.mask_caption_sft.checkpoints.upstream_file import upstream_state
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.sa2va.building import load_trained
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import LORA, SIZES, miniature_batch, objectives

EMBEDDINGS, HEAD = 'language_model.model.embed_tokens.weight', 'language_model.lm_head.weight'
STORED = ['once', 'twice', 'twice, differing']


@pytest.fixture(scope='module')
def bases(tmp_path_factory):
    """By what the file stores: the embeddings alone, a copy as output matrix, another matrix."""
    folder = tmp_path_factory.mktemp('bases')
    for stored in STORED:
        write_base(new_sa2va(3, SIZES | {'tie_word_embeddings': True}), folder / stored)
        tensors = load_file(folder / stored / 'model.safetensors')
        assert HEAD not in tensors  # as transformers writes a tied model
        if stored != 'once':
            head = {'twice': tensors[EMBEDDINGS].clone(), 'twice, differing': tensors[EMBEDDINGS] + 1}[stored]
            save_file(tensors | {HEAD: head}, folder / stored / 'model.safetensors')
    return folder


@pytest.fixture(scope='module', params=STORED)
def base(request, bases):
    return bases / request.param


@pytest.fixture(scope='module')
def run(base, tmp_path_factory):
    """Student and teacher after two updates with ``train_embeddings``, and their checkpoint file."""
    return train(base, tmp_path_factory.mktemp('run') / 'iter_2.pth', train_embeddings=True)


@pytest.fixture
def log(monkeypatch):
    """Lines said about an output matrix that is not read."""
    lines: list[str] = []
    monkeypatch.setattr(tied_embeddings, 'print_log', lambda text, *_: lines.append(text))
    return lines


def stored(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / 'model.safetensors')


def train(base, path, train_embeddings):
    torch.manual_seed(0)
    settings = dict(base=str(base), lora=LORA, train_embeddings=train_embeddings)
    model = MaskCaptionSFT(settings, objectives(), max_caption_len=5).train()
    wrapper = OptimWrapper(torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-3))
    teacher = dict(model.teacher.named_parameters())
    for _ in range(2):
        model.train_step({'batch': miniature_batch()}, wrapper)
        with torch.no_grad():
            for name, parameter in model.student.named_parameters():
                if parameter.requires_grad:
                    teacher[name].lerp_(parameter, 0.5)
    student = model.student
    own = dict(base=str(base), fingerprint=student.base_fingerprint, lora_scaling=student.lora_scaling)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(sa2va=own)), path)
    return model.eval(), path


def exported(base, path, out, side='student'):
    checkpoint = torch.load(path, weights_only=True)
    export(base, trained_tensors(checkpoint, side, 1.0, key_map_of(read_config(base))), out, str)
    return stored(out)


# ---------------------------------------------------------------- reading


def test_it_loads_with_one_matrix_for_both(base, log):
    model = Sa2VA(base)
    assert model.mllm.lm_head.weight is model.embedding
    assert torch.equal(model.embedding, stored(base)[EMBEDDINGS])


def test_a_stored_matrix_that_differs_is_said_once(base, log):
    MaskCaptionSFT(dict(base=str(base)), {})  # student and teacher
    if base.name == 'twice, differing':
        assert len(log) == 1
        assert 'language_model.lm_head.weight' in log[0]
        assert 'tie_word_embeddings must be false' in log[0]
    else:
        assert not log


def test_transformers_reads_the_same_output_matrix(base, tmp_path, log):
    """Upstream's transformers ties them as the config says; 5 leaves two that differ apart."""
    config = json.loads((base / 'config.json').read_text())['llm_config']
    (tmp_path / 'config.json').write_text(json.dumps(config))
    prefix = 'language_model.'
    part = {k.removeprefix(prefix): v for k, v in stored(base).items() if k.startswith(prefix)}
    save_file(part, tmp_path / 'model.safetensors', metadata={'format': 'pt'})
    theirs, ours = Qwen2ForCausalLM.from_pretrained(tmp_path), Sa2VA(base).mllm
    leaves_apart = base.name == 'twice, differing' and int(transformers.__version__.split('.')[0]) >= 5
    assert torch.equal(theirs.lm_head.weight, stored(base)[HEAD] if leaves_apart else ours.lm_head.weight)
    assert torch.equal(theirs.model.embed_tokens.weight, ours.get_input_embeddings().weight)


def test_the_language_models_config_decides_not_the_top_level(tmp_path):
    write_base(new_sa2va(3, SIZES), tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text()) | {'tie_word_embeddings': True}
    (tmp_path / 'config.json').write_text(json.dumps(config))
    model = Sa2VA(tmp_path)
    assert torch.equal(model.mllm.lm_head.weight, stored(tmp_path)[HEAD])
    assert not torch.equal(model.mllm.lm_head.weight, model.embedding)


def test_an_untied_base_without_output_matrix_is_still_refused(tmp_path):
    write_base(new_sa2va(3, SIZES), tmp_path)
    tensors = stored(tmp_path)
    del tensors[HEAD]
    save_file(tensors, tmp_path / 'model.safetensors')
    with pytest.raises(ValueError, match=r'missing: language_model\.lm_head\.weight'):
        Sa2VA(tmp_path)


# ---------------------------------------------------------------- training and export


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_trained_embeddings_are_exported_under_every_stored_name(base, run, tmp_path, side):
    model, checkpoint = run
    after = exported(base, checkpoint, tmp_path / 'out', side)
    before = stored(base)
    assert after.keys() == before.keys()
    assert torch.equal(after[EMBEDDINGS], getattr(model, side).embedding.detach())
    assert torch.equal(after.get(HEAD, after[EMBEDDINGS]), after[EMBEDDINGS])
    assert not torch.equal(after[EMBEDDINGS], before[EMBEDDINGS])


def test_the_export_and_the_checkpoint_give_the_live_model(base, run, tmp_path, log):
    live, checkpoint = run
    exported(base, checkpoint, tmp_path / 'out')
    ids = torch.arange(12)[None]
    expected = live.student.mllm(input_ids=ids).logits
    for model in (Sa2VA(tmp_path / 'out'), load_trained(checkpoint)):
        torch.testing.assert_close(model.eval().mllm(input_ids=ids).logits, expected, rtol=0, atol=1e-4)
    assert len(log) == (base.name == 'twice, differing')  # for the base that load_trained reads, no more


def test_a_resumed_run_has_the_trained_matrix_under_both_names(base, run):
    model, checkpoint = run
    settings = dict(base=str(base), lora=LORA, train_embeddings=True)
    resumed = MaskCaptionSFT(settings, {})
    resumed.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    for side in ('student', 'teacher'):
        found = getattr(resumed, side)
        assert found.mllm.lm_head.weight is found.embedding
        assert torch.equal(found.embedding, getattr(model, side).embedding)


def test_embeddings_that_were_not_trained_stay_byte_for_byte(base, tmp_path):
    _, checkpoint = train(base, tmp_path / 'iter_2.pth', train_embeddings=False)
    after = exported(base, checkpoint, tmp_path / 'out')
    for name in {EMBEDDINGS, HEAD} & stored(base).keys():
        assert torch.equal(after[name], stored(base)[name])


# ---------------------------------------------------------------- upstream's files


def test_upstreams_file_has_the_matrix_under_both_names(base, tmp_path, log):
    state = upstream_state(base, 'v2')
    for name in (EMBEDDINGS, HEAD):
        assert torch.equal(state[f'mllm.model.{name}'], stored(base)[EMBEDDINGS])
    export(base, from_upstream(state, 2.0), tmp_path / 'out', str, allow_unchanged=True)
    assert stored(tmp_path / 'out').keys() == stored(base).keys()


def test_two_matrices_of_upstreams_trainer_become_the_embeddings_and_that_is_said(bases, tmp_path, log):
    wrapper = 'mllm.model.language_model.base_model.model.'
    new = stored(bases / 'twice')[EMBEDDINGS] + 0.25
    state = {
        f'{wrapper}model.embed_tokens.modules_to_save.default.weight': new,
        f'{wrapper}lm_head.modules_to_save.default.weight': new + 1,
    }
    for name in ('once', 'twice'):
        export(bases / name, from_upstream(state, 2.0), tmp_path / name, str)
        after = stored(tmp_path / name)
        assert torch.equal(after[EMBEDDINGS], new)
        assert torch.equal(after.get(HEAD, new), new)
    assert ['of the checkpoint differs from the token embeddings' in line for line in log] == [True, True]


def test_the_two_names_may_lie_in_different_shards(bases, tmp_path):
    """The output matrix in the first: it is read before the embeddings."""
    base = shutil.copytree(bases / 'twice', tmp_path / 'base')
    tensors = stored(base)
    shards = {'a.safetensors': {HEAD: tensors.pop(HEAD)}, 'b.safetensors': tensors}
    for shard, content in shards.items():
        save_file(content, base / shard, metadata={'format': 'pt'})
    (base / 'model.safetensors').unlink()
    weight_map = {key: shard for shard, content in shards.items() for key in content}
    (base / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
    assert torch.equal(Sa2VA(base).embedding, tensors[EMBEDDINGS])
    new = tensors[EMBEDDINGS] + 1
    export(base, TrainedTensors(replaced={EMBEDDINGS: new}), tmp_path / 'out', str)
    assert torch.equal(load_file(tmp_path / 'out' / 'a.safetensors')[HEAD], new)
    assert torch.equal(load_file(tmp_path / 'out' / 'b.safetensors')[EMBEDDINGS], new)
