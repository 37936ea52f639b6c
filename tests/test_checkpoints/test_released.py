"""A released checkpoint is read whole, or what is wrong with it is listed."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import SIZES


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('base')
    write_base(new_sa2va(3, SIZES), folder)
    return folder


@pytest.fixture
def base(written, tmp_path):
    return shutil.copytree(written, tmp_path / 'base')


def change_config(base, **values):
    path = base / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_tensors(base, change):
    tensors = load_file(base / 'model.safetensors')
    change(tensors)
    save_file(tensors, base / 'model.safetensors')


def test_what_was_written_is_read_back_bit_for_bit(base):
    expected, found = new_sa2va(3, SIZES), Sa2VA(base)
    for (name, first), (_, second) in zip(expected.named_parameters(), found.named_parameters()):
        assert torch.equal(first, second), name


def test_sizes_come_from_the_checkpoint(base):
    assert Sa2VA(base).config['llm_config']['hidden_size'] == SIZES['llm_width']


def test_shards_with_an_index_are_read(base):
    tensors = load_file(base / 'model.safetensors')
    names = sorted(tensors)
    shards = {'model-00001-of-00002.safetensors': names[::2], 'model-00002-of-00002.safetensors': names[1::2]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, base / shard)
    (base / 'model.safetensors').unlink()
    weight_map = {key: shard for shard, keys in shards.items() for key in keys}
    (base / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
    expected = new_sa2va(3, SIZES)
    for (name, first), (_, second) in zip(expected.named_parameters(), Sa2VA(base).named_parameters()):
        assert torch.equal(first, second), name
    (base / 'model-00002-of-00002.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match=r'names shards that are not there: model-00002-of-00002'):
        Sa2VA(base)


def test_half_precision_weights_give_a_float32_model(base):
    tensors = load_file(base / 'model.safetensors')
    save_file({k: v.half() for k, v in tensors.items()}, base / 'model.safetensors')
    assert {p.dtype for p in Sa2VA(base).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda t: t.pop('mlp1.1.weight'), r'missing: mlp1\.1\.weight'),
        (lambda t: t.update(strange=torch.zeros(1)), r'InternVL on Qwen2 has no entry for .*: strange'),
        (
            lambda t: t.update({'mlp1.1.bias': torch.zeros(3)}),
            r'another shape: .*linear_1\.bias \(3,\) for',
        ),
    ],
)
def test_tensors_that_are_missing_unknown_or_misshapen_are_listed(base, change, message):
    change_tensors(base, change)
    with pytest.raises(ValueError, match=message):
        Sa2VA(base)


def test_memory_modules_of_sam2_are_listed_as_unused(base):
    key = 'grounding_encoder.sam2_model.memory_encoder.out_proj.weight'
    change_tensors(base, lambda t: t.update({key: torch.zeros(2, 2)}))
    Sa2VA(base)


def test_another_model_type_is_named(base):
    change_config(base, model_type='internvl_chat')
    with pytest.raises(ValueError, match=r'has model_type \'internvl_chat\', not "sa2va_chat"'):
        Sa2VA(base)


def test_another_language_model_is_named(base):
    llm = json.loads((base / 'config.json').read_text())['llm_config']
    change_config(base, llm_config=llm | {'architectures': ['LlamaForCausalLM']})
    message = r'of the family InternVL on LlamaForCausalLM, which is not supported.*: InternVL on Qwen2, '
    with pytest.raises(ValueError, match=message):
        Sa2VA(base)


def test_a_checkpoint_without_thumbnails_is_refused(base):
    change_config(base, use_thumbnail=False)
    with pytest.raises(ValueError, match='use_thumbnail is false, but visual prompts are read'):
        Sa2VA(base)


def test_another_prompt_template_than_the_checkpoints_is_said(base, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'projects.mask_caption_sft.sa2va.modules.print_log', lambda text, *_: lines.append(text)
    )
    Sa2VA(base)
    Sa2VA(base, prompt_template='phi3_chat')
    assert not lines
    Sa2VA(base, prompt_template='qwen_chat')
    assert "prompt_template='qwen_chat' is used" in lines[0]
    assert "says 'phi3_chat'. Leave model.sa2va.prompt_template out" in lines[0]


def test_a_truncated_file_is_named(base):
    path = base / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r'model\.safetensors is truncated or not a safetensors file'):
        Sa2VA(base)


def test_a_missing_directory_names_the_config_key(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'config\.json is missing. Set `base`'):
        Sa2VA(tmp_path / 'nowhere')


def test_a_tokenizer_without_seg_is_named(base):
    plain = new_sa2va(0, SIZES).text.tokenizer
    for name in ('tokenizer.json', 'tokenizer_config.json', 'added_tokens.json', 'special_tokens_map.json'):
        path = base / name
        if path.exists():
            path.write_text(path.read_text().replace('[SEG]', '[NONE]'))
    assert plain.convert_tokens_to_ids('[SEG]') is not None
    with pytest.raises(ValueError, match=r"has no token '\[SEG\]'"):
        Sa2VA(base)
