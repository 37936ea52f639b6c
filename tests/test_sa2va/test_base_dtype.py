"""In which types a model holds its weights, and which files are refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from projects.mask_caption_sft.sa2va.building import load_trained
from projects.mask_caption_sft.sa2va.meta import build_on_meta
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import LORA, SIZES, bfloat16_base, released_sa2va

MATRICES = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)
BFLOAT16, FLOAT32 = {torch.bfloat16}, {torch.float32}


def dtypes(model: nn.Module) -> tuple[set, set, set]:
    """Of trained tensors, of frozen layers with matrices, and of all else that is frozen."""
    trained, matrices, rest = set(), set(), set()
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                kind = matrices if isinstance(module, MATRICES) else rest
                (trained if parameter.requires_grad else kind).add(parameter.dtype)
    return trained, matrices, rest


def changed_base(folder, change):
    """A base in bfloat16 after ``change(tensors)``."""
    write_base(new_sa2va(0, SIZES), folder, torch.bfloat16)
    tensors = load_file(folder / 'model.safetensors')
    change(tensors)
    save_file(tensors, folder / 'model.safetensors')
    return folder


# ---------------------------------------------------------------- types


def test_the_base_stays_in_its_type_and_what_is_trained_is_float32():
    assert dtypes(released_sa2va('released')) == (FLOAT32, BFLOAT16, FLOAT32)


def test_in_float32_everything_is_float32():
    model = released_sa2va('float32')
    assert dtypes(model) == (FLOAT32, FLOAT32, FLOAT32)
    assert not model.needs_autocast


def test_float32_is_the_default():
    assert dtypes(Sa2VA(bfloat16_base())) == (FLOAT32, FLOAT32, FLOAT32)


def test_a_base_in_float32_can_be_held_in_bfloat16_with_exact_trained_tensors(tmp_path):
    write_base(new_sa2va(0, SIZES), tmp_path)
    model, stored = Sa2VA(tmp_path, base_dtype='bfloat16'), load_file(tmp_path / 'model.safetensors')
    assert dtypes(model) == (FLOAT32, BFLOAT16, FLOAT32)
    assert torch.equal(model.text_hidden_fcs[0].weight, stored['text_hidden_fcs.0.weight'])
    assert torch.equal(model.mllm.lm_head.weight, stored['language_model.lm_head.weight'].to(torch.bfloat16))


def test_trained_embeddings_are_float32_and_so_is_all_that_train_all_trains():
    model = released_sa2va('released', train_embeddings=True)
    assert model.embedding.dtype == model.mllm.lm_head.weight.dtype == torch.float32
    assert dtypes(model) == (FLOAT32, BFLOAT16, FLOAT32)
    assert dtypes(released_sa2va('released', lora=None, train_all=True)) == (FLOAT32, set(), set())


def test_a_bfloat16_value_is_the_same_number_in_both():
    short, exact = (dict(released_sa2va(kind).named_parameters()) for kind in ('released', 'float32'))
    assert short.keys() == exact.keys()
    for name, parameter in short.items():
        assert torch.equal(parameter.float(), exact[name]), name


def test_embeddings_enter_the_residual_stream_in_float32():
    """In bfloat16 every layer would round the sum of all layers before it."""
    model = released_sa2va('released').eval()
    seen = []
    for layer in model.mllm.model.language_model.layers:
        layer.register_forward_hook(lambda module, given, out: seen.append((given[0].dtype, out.dtype)))
    ids = torch.tensor([[5, 6, 7]])
    assert model.embed_ids(ids).dtype == torch.float32
    with torch.autocast('cpu', torch.bfloat16):
        model.mllm.generate(input_ids=ids, max_new_tokens=3, do_sample=False)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert len(seen) == 2 * 3  # two layers; the prompt and two more tokens


def test_a_model_from_a_trained_checkpoint_has_the_types_too(tmp_path):
    model = released_sa2va('released')
    state = {
        f'{side}.{k}': v for side in ('student', 'teacher') for k, v in model.trained_state_dict().items()
    }
    own = dict(base=str(bfloat16_base()), lora_scaling=model.lora_scaling)
    torch.save(dict(state_dict=state, meta=dict(sa2va=own)), tmp_path / 'iter_1.pth')
    merged = load_trained(tmp_path / 'iter_1.pth', base_dtype='released')
    assert dtypes(merged) == (FLOAT32, BFLOAT16, FLOAT32)
    plain = Sa2VA(bfloat16_base()).mllm.model.language_model.layers[0].mlp.up_proj.weight
    assert not torch.equal(merged.mllm.model.language_model.layers[0].mlp.up_proj.weight.float(), plain)


def test_without_a_file_config_json_says_what_is_released():
    model = build_on_meta(lora=LORA, base_dtype='released')
    assert dtypes(model) == (FLOAT32, BFLOAT16, FLOAT32)
    assert dtypes(new_sa2va(0, SIZES, base_dtype='released')) == (FLOAT32, FLOAT32, FLOAT32)


# ---------------------------------------------------------------- what is refused


def test_an_unknown_choice_is_named():
    with pytest.raises(
        ValueError, match=r"base_dtype='half' is not one of 'released', 'float32', 'bfloat16'"
    ):
        Sa2VA(bfloat16_base(), base_dtype='half')


NAME = 'language_model.model.layers.1.mlp.up_proj.weight'


def test_one_part_in_two_types_is_refused_and_the_mend_loads_it(tmp_path):
    base = changed_base(tmp_path, lambda t: t.update({NAME: t[NAME].float()}))
    with pytest.raises(
        ValueError, match=r'language_model are stored in several types .* F32: ' + NAME
    ) as error:
        Sa2VA(base, base_dtype='released')
    assert "set model.sa2va.base_dtype='bfloat16' or 'float32'" in str(error.value)
    assert 'in model.safetensors' in str(error.value)
    assert dtypes(Sa2VA(base, base_dtype='bfloat16')) == (FLOAT32, BFLOAT16, FLOAT32)
    assert dtypes(Sa2VA(base, base_dtype='float32')) == (FLOAT32, FLOAT32, FLOAT32)


def test_parts_may_differ_as_upstreams_conversion_writes_them(tmp_path):
    loaded_in_bfloat16 = ('vision_model.', 'language_model.')

    def widen(tensors):
        for name in [name for name in tensors if not name.startswith(loaded_in_bfloat16)]:
            tensors[name] = tensors[name].float()

    model = Sa2VA(changed_base(tmp_path, widen), base_dtype='released')
    assert dtypes(model.mllm)[1] == BFLOAT16
    assert dtypes(model.grounding_encoder)[1] == FLOAT32


def test_vectors_may_differ_from_matrices(tmp_path):
    norm = 'language_model.model.norm.weight'
    base = changed_base(tmp_path, lambda t: t.update({norm: t[norm].float()}))
    Sa2VA(base, base_dtype='released')


def test_a_quantised_tensor_is_refused(tmp_path):
    base = changed_base(tmp_path, lambda t: t.update({NAME: t[NAME].to(torch.int8)}))
    with pytest.raises(ValueError, match=rf'stores {NAME} as I8; a base is read in F32, BF16, F16'):
        Sa2VA(base, base_dtype='released')
