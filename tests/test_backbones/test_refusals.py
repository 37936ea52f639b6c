"""A checkpoint of another family, or a broken one, is refused with what was found and what is expected."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from projects.mask_caption_sft.backbones import backbone_of
from projects.mask_caption_sft.backbones.families import supported_families
from projects.mask_caption_sft.checkpoints.config import check_config, read_config
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, tiny_config, write_base
from tests.family_bases import FAMILIES, family_config, write_family_base
from tests.miniature import SIZES
from tests.qwen_bases import qwen_config, write_qwen_base


def sa2va(**values) -> dict:
    return dict(model_type='sa2va_chat', **values)


@pytest.mark.parametrize(
    ('config', 'family'),
    [
        (sa2va(text_config=dict(model_type='qwen4_vl_text'), architectures=['X']), 'qwen4_vl_text'),
        (sa2va(architectures=['Sa2VAChatModelQwen']), 'Qwen-VL of an unknown kind (text_config.model_type)'),
        (sa2va(architectures=['LlavaForConditionalGeneration']), 'LlavaForConditionalGeneration'),
        (sa2va(auto_map={'AutoModel': 'modeling_own.Own'}), 'modeling_own.Own'),
        (sa2va(), 'unknown (neither llm_config, text_config nor architectures)'),
        (sa2va(llm_config=dict(architectures=['MistralForCausalLM'])), 'InternVL on MistralForCausalLM'),
        (sa2va(llm_config={}), 'InternVL on a language model without "architectures"'),
    ],
)
def test_another_family_is_named_with_those_that_are_supported(config, family):
    supported = (
        'InternVL on Qwen2, InternVL on Qwen3, InternVL on InternLM2, InternVL on Phi3, Qwen2.5-VL, Qwen3-VL'
    )
    message = (
        f'there/config.json is of the family {family}, which is not supported. Supported are: {supported}.'
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_config(config, 'there/config.json')


@pytest.mark.parametrize('family', FAMILIES)
def test_each_family_is_told_by_its_config(family):
    found = backbone_of(family_config(family, 600)).family
    assert found in supported_families()
    assert found.lower().endswith(family.split()[0])


@pytest.mark.parametrize(
    'key',
    ['force_image_size', 'downsample_ratio', 'vision_config.norm_type', 'llm_config.num_key_value_heads'],
)
def test_a_missing_field_is_named(key):
    config = tiny_config(600, SIZES)
    *path, last = key.split('.')
    inner = config[path[0]] if path else config
    del inner[last]
    with pytest.raises(
        ValueError, match=rf'InternVL on Qwen2 and lacks {re.escape(key)}\. Found are .*template'
    ):
        backbone_of(config)


QWEN_FIELDS = {
    'qwen3-vl': ['text_config.num_key_value_heads', 'vision_config.deepstack_visual_indexes'],
    'qwen2.5-vl': ['text_config.vocab_size', 'vision_config.window_size', 'vision_config.patch_size'],
}


@pytest.mark.parametrize(('family', 'key'), [(f, key) for f, keys in QWEN_FIELDS.items() for key in keys])
def test_a_missing_field_of_qwen_is_named(family, key):
    config = qwen_config(family)
    part, name = key.split('.')
    del config[part][name]
    with pytest.raises(
        ValueError, match=rf'(?i)family {family} and lacks {re.escape(key)}\. Found are .*text_c'
    ):
        backbone_of(config)


@pytest.mark.parametrize('family', QWEN_FIELDS)
def test_another_version_of_qwen_is_named(family):
    config = qwen_config(family)
    config['vision_config']['spatial_merge_size'] = 3
    with pytest.raises(ValueError, match=r'has vision_config\.spatial_merge_size 3; only 2 is supported'):
        backbone_of(config)
    config = qwen_config(family)
    del config['text_config']['rope_scaling']['mrope_section']
    with pytest.raises(ValueError, match=r'states no mrope_section in text_config\.rope_scaling'):
        backbone_of(config)


def test_a_deepstack_layer_that_the_vit_does_not_have_is_named():
    config = qwen_config('qwen3-vl')
    config['vision_config']['deepstack_visual_indexes'] = [1, 7]
    with pytest.raises(ValueError, match=r'deepstack_visual_indexes \[1, 7\], but a ViT of 3 layers'):
        backbone_of(config)


@pytest.mark.parametrize('token', ['<vp>', '<|image_pad|>'])
def test_a_tokenizer_of_qwen_without_a_mark_is_named(tmp_path, token):
    base = write_qwen_base('qwen3-vl', tmp_path / 'base')
    for path in base.glob('*token*.json'):
        path.write_text(path.read_text().replace(f'"{token}"', '"<other>"'))
    with pytest.raises(ValueError, match=rf'tokenizer of .*base has no token {re.escape(repr(token))}'):
        Sa2VA(base)


def test_a_whole_part_that_is_missing_is_no_key_error():
    config = tiny_config(600, SIZES)
    del config['vision_config']
    with pytest.raises(ValueError, match=r'lacks vision_config\.hidden_size, vision_config\.num_hidden'):
        backbone_of(config)


@pytest.mark.parametrize(('key', 'value'), [('ps_version', 'v1'), ('select_layer', -4)])
def test_another_version_is_named(key, value):
    with pytest.raises(ValueError, match=rf'has {key} {value!r}; only .* is supported'):
        backbone_of(tiny_config(600, SIZES) | {key: value})


def test_a_config_that_is_not_json_is_named(tmp_path):
    (tmp_path / 'config.json').write_text('{"model_type": ')
    with pytest.raises(ValueError, match=r'config\.json is not JSON'):
        read_config(tmp_path)


@pytest.mark.parametrize('family', ['qwen2', 'internlm2'])
def test_a_tokenizer_without_vp_is_named(tmp_path, family):
    base = write_family_base(family, tmp_path / 'base')
    for path in base.glob('*token*.json'):
        path.write_text(path.read_text().replace('"<vp>"', '"<other>"'))
    with pytest.raises(ValueError, match=r"tokenizer of .*base has no token '<vp>'"):
        Sa2VA(base)


def test_a_grounding_encoder_of_another_size_is_named(tmp_path):
    base = tmp_path / 'base'
    write_base(new_sa2va(0, SIZES), base)
    config = json.loads((base / 'config.json').read_text())
    del config['tiny_sam2']
    (base / 'config.json').write_text(json.dumps(config))
    message = (
        r'SAM 2 of no released size \(width 8, 5 blocks\); expected is SAM 2 hiera-large \(width 144, 48'
    )
    with pytest.raises(ValueError, match=message):
        Sa2VA(base)


def in_shards(base, names: tuple[str, str]) -> None:
    tensors = load_file(base / 'model.safetensors')
    parts = dict(zip(names, (sorted(tensors)[::2], sorted(tensors)[1::2])))
    for shard, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, base / shard)
    (base / 'model.safetensors').unlink()
    index = {'weight_map': {key: shard for shard, keys in parts.items() for key in keys}}
    (base / 'model.safetensors.index.json').write_text(json.dumps(index))


def test_shards_of_two_models_are_named(tmp_path):
    names = 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'
    bases = [write_family_base(family, tmp_path / family) for family in ('qwen2', 'internlm2')]
    for base in bases:
        in_shards(base, names)
    (bases[1] / names[1]).replace(bases[0] / names[1])
    message = (
        rf'{names[1]} is a shard of another model than .*index\.json: it lacks .* also holds language_model'
    )
    with pytest.raises(ValueError, match=message):
        Sa2VA(bases[0])


def test_a_shard_of_a_wider_model_of_the_family_is_named(tmp_path):
    names = 'a.safetensors', 'b.safetensors'
    for folder, sizes in (('narrow', SIZES), ('wide', SIZES | dict(llm_width=64))):
        write_base(new_sa2va(0, sizes), tmp_path / folder)
        in_shards(tmp_path / folder, names)
    (tmp_path / 'wide' / names[1]).replace(tmp_path / 'narrow' / names[1])
    with pytest.raises(ValueError, match=r'does not fit its config\.json\. .*of another shape: .*\(64'):
        Sa2VA(tmp_path / 'narrow')


def test_no_unsupported_family_costs_a_look_at_its_weights(tmp_path):
    (tmp_path / 'config.json').write_text(json.dumps(sa2va(text_config=dict(model_type='qwen4_vl_text'))))
    torch.save({}, tmp_path / 'model.safetensors')  # would be refused as no safetensors file
    with pytest.raises(ValueError, match='of the family qwen4_vl_text'):
        Sa2VA(tmp_path)
