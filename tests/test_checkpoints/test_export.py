"""A trained model goes back where Sa2VA checkpoints go, and nothing is lost on the way."""

import json
import shutil
from argparse import Namespace

import pytest
import torch
from convert_to_hf import convert
from safetensors.torch import load_file, save_file

from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.trained_tensors import TrainedTensors
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint, trained_tensors
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import (
    LORA,
    SIZES,
    bfloat16_base,
    released_sa2va,
)
from tests.trained_miniature import arguments, outputs, save_checkpoint, train_on

UNUSED = 'grounding_encoder.sam2_model.memory_attention.norm.weight'


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """Two shards with an index, an unused tensor, and files of Python and text beside them."""
    folder = tmp_path_factory.mktemp('base')
    write_base(new_sa2va(5, SIZES), folder)
    tensors = load_file(folder / 'model.safetensors') | {UNUSED: torch.randn(7)}
    vision = {k: v for k, v in tensors.items() if k.startswith('vision_model.')}
    rest = {k: v for k, v in tensors.items() if k not in vision}
    shards = {'model-00001-of-00002.safetensors': vision, 'model-00002-of-00002.safetensors': rest}
    for shard, content in shards.items():
        save_file(content, folder / shard, metadata={'format': 'pt'})
    (folder / 'model.safetensors').unlink()
    weight_map = {key: shard for shard, content in shards.items() for key in content}
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
    (folder / 'modeling_sa2va_chat.py').write_text('# their code\n')
    (folder / 'README.md').write_text('---\nlicense: mit\n---\n# The base\n')
    return folder


@pytest.fixture(scope='module')
def model(base):
    return train_on(base)


@pytest.fixture(scope='module')
def checkpoint(model, tmp_path_factory):
    """The checkpoint file of that run."""
    path = tmp_path_factory.mktemp('run') / 'iter_10.pth'
    save_checkpoint(model, path)
    return path


def tensors_of(folder) -> dict[str, torch.Tensor]:
    return {k: v for path in sorted(folder.glob('*.safetensors')) for k, v in load_file(path).items()}


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_the_exported_model_says_and_segments_what_the_live_one_does(model, checkpoint, tmp_path, side):
    convert(arguments(checkpoint, tmp_path / 'out', teacher=side == 'teacher'))
    live, read = outputs(getattr(model, side)), outputs(Sa2VA(tmp_path / 'out').eval())
    assert read[0] == live[0]
    torch.testing.assert_close(read[1], live[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(read[2], live[2], rtol=0, atol=1e-4)


@pytest.mark.parametrize('embeddings', [False, True])
def test_an_export_does_not_depend_on_the_type_that_the_base_is_held_in(tmp_path, embeddings):
    """LoRA is merged in float32 into the base's own values, whatever the model was trained over."""
    exported = []
    for base_dtype in ('released', 'float32'):
        model = released_sa2va(base_dtype, train_embeddings=embeddings)
        trained = model.trained_state_dict()
        state = {
            f'{side}.{name}': tensor for side in ('student', 'teacher') for name, tensor in trained.items()
        }
        own = dict(base=model.base, fingerprint=model.base_fingerprint, lora_scaling=model.lora_scaling)
        path = tmp_path / f'{base_dtype}.pth'
        torch.save(dict(state_dict=state, meta=dict(cfg='', sa2va=own)), path)
        convert(arguments(path, tmp_path / base_dtype))
        exported.append(tensors_of(tmp_path / base_dtype))
    before = tensors_of(bfloat16_base())
    assert {tensor.dtype for tensor in exported[0].values()} == {torch.bfloat16}
    assert all(torch.equal(exported[0][name], exported[1][name]) for name in before)
    name, lora = 'language_model.model.layers.0.mlp.up_proj', 'mllm.model.language_model.layers.0.mlp.up_proj'
    down, up = (trained[f'{lora}.lora_{part}.default.weight'] for part in 'AB')
    merged = before[f'{name}.weight'].float() + 2.0 * (up @ down)  # lora_alpha 8 / r 4
    assert torch.equal(exported[0][f'{name}.weight'], merged.to(torch.bfloat16))


def test_student_and_teacher_are_exported_as_different_models(checkpoint, tmp_path):
    for side in ('student', 'teacher'):
        convert(arguments(checkpoint, tmp_path / side, teacher=side == 'teacher'))
    student, teacher = tensors_of(tmp_path / 'student'), tensors_of(tmp_path / 'teacher')
    assert any(not torch.equal(student[name], teacher[name]) for name in student)


def test_it_differs_from_the_base_in_the_trained_groups_and_nowhere_else(base, checkpoint, tmp_path):
    table = convert(arguments(checkpoint, tmp_path / 'out'))
    before, after = tensors_of(base), tensors_of(tmp_path / 'out')
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    kinds = ('self_attn', '.mlp.', 'mlp1.', 'mask_decoder', 'text_hidden_fcs')
    assert all(any(kind in name for kind in kinds) for name in changed)
    assert all(any(kind in name for name in changed) for kind in kinds)
    assert not any(name.startswith('vision_model.') or 'image_encoder' in name for name in changed)
    assert torch.equal(before[UNUSED], after[UNUSED])
    assert [line.split()[0] for line in table.splitlines()[1:]] != []


def test_what_was_not_trained_is_copied_byte_for_byte(base, checkpoint, tmp_path):
    convert(arguments(checkpoint, tmp_path / 'out'))
    for name in (
        'config.json', 'modeling_sa2va_chat.py', 'tokenizer.json', 'model.safetensors.index.json',
        'model-00001-of-00002.safetensors',
    ):  # fmt: skip
        assert (tmp_path / 'out' / name).read_bytes() == (base / name).read_bytes(), name
    assert (tmp_path / 'out' / 'README_base.md').read_bytes() == (base / 'README.md').read_bytes()


def test_the_model_card_tells_base_data_steps_losses_and_licence(base, checkpoint, tmp_path):
    convert(arguments(checkpoint, tmp_path / 'out'))
    card = (tmp_path / 'out' / 'README.md').read_text()
    for text in (
        'license: mit',
        f'Base: {base.name} (fingerprint',
        'iteration 10',
        'sav  3',
        'train/loss',
        '1.5000',
        'torch ',
        'model = ',
    ):
        assert text in card, text


def test_read_and_written_without_training_every_tensor_is_identical(base, tmp_path):
    state = MaskCaptionSFT(dict(base=str(base)), {}).state_dict()  # no LoRA: the base's own values
    torch.save(dict(state_dict=state, meta=dict(sa2va=dict(base=str(base)))), tmp_path / 'iter_0.pth')
    with pytest.raises(ValueError, match='Nothing differs from the base'):
        convert(arguments(tmp_path / 'iter_0.pth', tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()
    convert(arguments(tmp_path / 'iter_0.pth', tmp_path / 'out', allow_unchanged=True))
    before, after = tensors_of(base), tensors_of(tmp_path / 'out')
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype
        assert torch.equal(tensor.view(-1).view(torch.uint8), after[name].view(-1).view(torch.uint8)), name


def test_fresh_lora_changes_nothing(base):
    model = MaskCaptionSFT(dict(base=str(base), lora=LORA), {})
    checkpoint = dict(state_dict=model.state_dict(), meta=dict(sa2va=dict(lora_scaling=2.0)))
    trained = trained_tensors(checkpoint, 'student', 0.0, model.student.key_map)
    before = tensors_of(base)
    assert trained.lora
    assert all(torch.equal(trained.apply(name, before[name]), before[name]) for name in trained.names())


def test_merged_lora_by_hand():
    base = torch.zeros(2, 3)
    down, up = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0], [20.0]])
    trained = TrainedTensors(lora={'w': (down, up)}, scaling=0.5)
    assert trained.apply('w', base).tolist() == [[5, 10, 15], [10, 20, 30]]


def test_merged_lora_is_the_unmerged_forward(model):
    layer = model.student.mllm.model.language_model.layers[0].self_attn.q_proj
    inputs = torch.randn(4, layer.in_features)
    pair = layer.lora_A['default'].weight, layer.lora_B['default'].weight
    trained = TrainedTensors(lora={'w': pair}, scaling=layer.scaling['default'])
    merged = trained.apply('w', layer.base_layer.weight)
    found = inputs @ merged.t() + layer.base_layer.bias
    torch.testing.assert_close(found, layer(inputs), rtol=0, atol=1e-5)
    assert (layer(inputs) - layer.base_layer(inputs)).abs().max() > 1e-4


def test_the_result_has_the_dtype_of_the_base():
    trained = TrainedTensors(replaced={'w': torch.tensor([1 / 3])})
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        assert torch.equal(trained.apply('w', torch.zeros(1, dtype=dtype)), torch.tensor([1 / 3]).to(dtype))


# ---------------------------------------------------------------- refusals


def test_an_existing_directory_is_not_overwritten_unless_told(checkpoint, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'precious.txt').write_text('mine')
    with pytest.raises(
        FileExistsError, match=r'out exists. Choose another --output_dir, or pass --overwrite'
    ):
        convert(arguments(checkpoint, out))
    assert (out / 'precious.txt').read_text() == 'mine'
    convert(arguments(checkpoint, out, overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ['out']
    assert (out / 'config.json').is_file()


def test_what_is_not_finite_is_refused(base, tmp_path):
    name = 'text_hidden_fcs.0.bias'
    bad = torch.full_like(tensors_of(base)[name], torch.nan)
    with pytest.raises(ValueError, match=r'text_hidden_fcs\.0\.bias is not finite after training'):
        export(base, TrainedTensors(replaced={name: bad}), tmp_path / 'out', str)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_base_is_refused_by_its_fingerprint(checkpoint, tmp_path):
    write_base(new_sa2va(6, SIZES), tmp_path / 'other')
    with pytest.raises(ValueError, match='was trained on another base: fingerprint'):
        convert(arguments(checkpoint, tmp_path / 'out', base=str(tmp_path / 'other')))


def test_a_checkpoint_of_another_size_is_refused_by_its_shapes(base, tmp_path):
    for trained in (
        TrainedTensors(replaced={'text_hidden_fcs.0.bias': torch.ones(3)}),
        TrainedTensors(lora={'language_model.lm_head.weight': (torch.ones(1, 3), torch.ones(3, 1))}),
    ):
        with pytest.raises(ValueError, match='trained on another base'):
            export(base, trained, tmp_path / 'out', str)
    with pytest.raises(ValueError, match=r'1 trained tensors are not in .* \(language_model\.layer_99\)'):
        export(
            base, TrainedTensors(replaced={'language_model.layer_99': torch.ones(1)}), tmp_path / 'out', str
        )


def test_no_space_left_is_said_before_writing(base, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: Namespace(free=10))
    with pytest.raises(OSError, match=r'GiB free; the export needs'):
        export(base, TrainedTensors(), tmp_path / 'out', str)


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(base, checkpoint, tmp_path, monkeypatch):
    from projects.mask_caption_sft.checkpoints import export as module

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(module, 'write_safetensors', full)
    with pytest.raises(OSError, match='No space left on device'):
        convert(arguments(checkpoint, tmp_path / 'out'))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_named(checkpoint, tmp_path):
    broken = tmp_path / 'iter_10.pth'
    broken.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r'iter_10\.pth cannot be read as a checkpoint'):
        read_checkpoint(broken)
    torch.save({'state_dict': print}, broken)
    with pytest.raises(ValueError, match='cannot be read as a checkpoint'):
        read_checkpoint(broken)


def test_without_a_base_the_flag_is_named(tmp_path):
    torch.save({'text_hidden_fcs.0.bias': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'does not name its base\. Give it with --base'):
        convert(arguments(tmp_path / 'a.pth', tmp_path / 'out'))


# ---------------------------------------------------------------- upstream's own checkpoints


def upstream_checkpoint(model, with_embeddings: bool) -> dict[str, torch.Tensor]:
    """What upstream's trainer would have saved of our student."""
    from projects.mask_caption_sft.checkpoints.trained_tensors import from_ours

    trained = from_ours(model.state_dict(), 'student', model.student.lora_scaling, model.student.key_map)
    state = {}
    for name, (down, up) in trained.lora.items():
        stem = name.removeprefix('language_model.').removesuffix('.weight')
        for part, matrix in (('A', down), ('B', up)):
            state[f'mllm.model.language_model.base_model.model.{stem}.lora_{part}.default.weight'] = matrix
    for name, tensor in trained.replaced.items():
        state[f'mllm.model.{name}' if name.startswith('mlp1.') else name] = tensor
    if with_embeddings:
        wrapper = 'mllm.model.language_model.base_model.model.'
        state[f'{wrapper}model.embed_tokens.weight'] = model.student.embedding.detach() + 0.01
        state[f'{wrapper}lm_head.weight'] = model.student.mllm.lm_head.weight.detach()
    return state


@pytest.mark.parametrize('with_embeddings', [False, True])
def test_upstream_training_checkpoints_are_read_over_a_base(
    base, model, checkpoint, tmp_path, with_embeddings
):
    torch.save({'state_dict': upstream_checkpoint(model, with_embeddings)}, tmp_path / 'sa2va.pth')
    scaling = model.student.lora_scaling
    convert(arguments(tmp_path / 'sa2va.pth', tmp_path / 'theirs', base=str(base), lora_scaling=scaling))
    convert(arguments(checkpoint, tmp_path / 'ours'))
    theirs, ours = tensors_of(tmp_path / 'theirs'), tensors_of(tmp_path / 'ours')
    differ = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert differ == ({'language_model.model.embed_tokens.weight'} if with_embeddings else set())


def test_an_upstream_checkpoint_has_no_teacher(base, model, tmp_path):
    torch.save({'state_dict': upstream_checkpoint(model, False)}, tmp_path / 'sa2va.pth')
    with pytest.raises(ValueError, match=r'has no teacher\. Leave out --teacher'):
        convert(arguments(tmp_path / 'sa2va.pth', tmp_path / 'out', base=str(base), teacher=True))
