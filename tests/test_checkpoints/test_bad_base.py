"""A broken base is refused with what was found and what is expected, and never by a bare KeyError."""

import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from projects.mask_caption_sft.checkpoints.config import check_config
from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.trained_tensors import TrainedTensors
from projects.mask_caption_sft.sa2va.base_sizes import base_sizes
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.family_bases import FAMILIES, family_config, write_family_base

SHARDS = 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'
SAM = 'grounding_encoder.sam2_model.'


@pytest.fixture(scope='module')
def bases(tmp_path_factory) -> dict[str, Path]:
    """Two whole bases of two families; nobody changes them."""
    folder = tmp_path_factory.mktemp('bases')
    return {family: write_family_base(family, folder / family) for family in ('qwen2', 'internlm2')}


@pytest.fixture
def base(bases, tmp_path) -> Path:
    return shutil.copytree(bases['qwen2'], tmp_path / 'base')


# ---------------------------------------------------------------- what is broken, and what is said of it


_MISSING = object()


def broken(config: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy in which one setting has another value, or is missing."""
    changed = deepcopy(config)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    if value is _MISSING:
        del inner[path[-1]]
    return changed


def setting(name: str, value: Any = _MISSING) -> Callable:
    """Changes a setting by its dotted name, or removes it."""

    def change(base: Path, bases: dict[str, Path]) -> None:
        path = base / 'config.json'
        path.write_text(json.dumps(broken(json.loads(path.read_text()), tuple(name.split('.')), value)))

    return change


def tokenizer_without(token: str) -> Callable:
    def change(base: Path, bases: dict[str, Path]) -> None:
        for path in base.glob('*token*.json'):
            path.write_text(path.read_text().replace(json.dumps(token), '"<other>"'))

    return change


def tensors(edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable:
    def change(base: Path, bases: dict[str, Path]) -> None:
        path = base / 'model.safetensors'
        save_file(edit({k: v.clone() for k, v in load_file(path).items()}), path)

    return change


def without_blocks(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in found.items() if 'trunk.blocks.4.' not in name}


def with_sam3(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    kept = {name: tensor for name, tensor in found.items() if 'image_encoder' not in name}
    return kept | {SAM + 'backbone.vision_backbone.trunk.patch_embed.proj.weight': torch.zeros(8, 3, 14, 14)}


def in_shards(base: Path) -> None:
    found = load_file(base / 'model.safetensors')
    parts = dict(zip(SHARDS, (sorted(found)[::2], sorted(found)[1::2])))
    for shard, names in parts.items():
        save_file({name: found[name] for name in names}, base / shard)
    (base / 'model.safetensors').unlink()
    index = {'weight_map': {name: shard for shard, names in parts.items() for name in names}}
    (base / 'model.safetensors.index.json').write_text(json.dumps(index))


def mixed_shards(base: Path, bases: dict[str, Path]) -> None:
    other = shutil.copytree(bases['internlm2'], base.parent / 'other')
    in_shards(base), in_shards(other)
    (other / SHARDS[1]).replace(base / SHARDS[1])


def other_config(base: Path, bases: dict[str, Path]) -> None:
    shutil.copyfile(bases['internlm2'] / 'config.json', base / 'config.json')


DAMAGES: dict[str, tuple[Callable, str]] = {
    'a size is missing': (
        setting('llm_config.hidden_size'),
        r'of the family InternVL on Qwen2 and lacks llm_config\.hidden_size\. Found are architectures',
    ),
    'a size is a text': (
        setting('force_image_size', '448'),
        r"config\.json: force_image_size is '448', expected is a whole number above 0\. Use the config",
    ),
    'several settings are wrong': (
        setting('vision_config', dict(hidden_size=-1, norm_type='group_norm', hidden_act='swish2')),
        r"hidden_size is -1, .*norm_type is 'group_norm', expected is 'layer_norm' .*hidden_act is 'swish2'",
    ),
    'a part is missing': (
        setting('vision_config'),
        r'of the family InternVL on Qwen2 and lacks vision_config\.hidden_size',
    ),
    'the language model has no name': (
        setting('llm_config.architectures'),
        r'of the family InternVL on a language model without "architectures", which is not supported',
    ),
    'another version': (setting('ps_version', 'v1'), r"has ps_version 'v1'; only 'v2' is supported"),
    'another family': (
        setting('llm_config.architectures', ['LlamaForCausalLM']),
        r'of the family InternVL on LlamaForCausalLM, which is not supported\. Supported are: InternVL on Q',
    ),
    'no template': (setting('template'), r'config\.json of .*base states no "template"\. Add the one'),
    'an empty template': (setting('template', ''), r"config\.json: template is '', expected is a text"),
    'a template that there is not': (
        setting('template', 'phi9_chat'),
        r"prompt_template='phi9_chat' is unknown\. Set it to one of",
    ),
    'a grounding encoder that there is not': (
        setting('grounding_encoder', 'sam1'),
        r"has grounding_encoder 'sam1', which is not supported\. Supported are 'sam2'",
    ),
    'a grounding encoder of another size': (
        setting('tiny_sam2.embed_dim'),
        r'is SAM 2 of no released size \(width 8, 5 blocks\); expected is SAM 2 of .* \(width 144, 5 bl',
    ),
    'a grounding encoder of no size': (
        setting('tiny_sam2.embed_dim', None),
        r'config\.json: tiny_sam2 states embed_dim=None; expected is a whole number above 0',
    ),
    'fewer blocks than the config says': (
        tensors(without_blocks),
        r'is SAM 2 of no released size \(width 8, 4 blocks\); expected is .*\(width 8, 5 blocks\)',
    ),
    'a config that names SAM 2, and weights of SAM 3': (
        lambda base, bases: (
            setting('grounding_encoder', 'sam2')(base, bases), tensors(with_sam3)(base, bases)
        ),
        r'base: expected is the grounding encoder SAM 2, whose tensors begin with .*image_encoder\.;',
    ),
    'a tokenizer without <vp>': (
        tokenizer_without('<vp>'), r"tokenizer of .*base has no token '<vp>'\. Use the tokenizer files",
    ),
    'a tokenizer without [SEG]': (tokenizer_without('[SEG]'), r"tokenizer of .*base has no token '\[SEG\]'"),
    'shards of two models': (
        mixed_shards,
        rf'{SHARDS[1]} is a shard of another model than .*index\.json: it lacks .* also holds language_model',
    ),
    'the config of another model': (other_config, r'InternVL on InternLM2 has no entry for'),
    'a tensor of another shape': (
        tensors(lambda found: found | {'text_hidden_fcs.0.bias': torch.zeros(3)}),
        r'does not fit its config\.json\. of another shape: text_hidden_fcs\.0\.bias \(3,\) for \(32,\)',
    ),
    'a tensor that is missing': (
        tensors(lambda found: {k: v for k, v in found.items() if k != 'mlp1.3.bias'}),
        r'does not fit its config\.json\. missing: mlp1\.3\.bias',
    ),
}  # fmt: skip


@pytest.mark.parametrize('damage', DAMAGES)
def test_it_is_named_with_what_is_expected(base, bases, damage):
    change, message = DAMAGES[damage]
    change(base, bases)
    with pytest.raises(ValueError, match=message) as refused:
        Sa2VA(base)
    assert 'KeyError' not in str(refused.value)


# ---------------------------------------------------------------- every setting, whatever is wrong with it


def names_of(config: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in config.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from names_of(value, (*path, name))


@pytest.mark.parametrize('family', FAMILIES)
def test_no_setting_ends_in_an_error_without_words(family):
    """Missing, empty, or of another kind: it does no harm, or the file is named."""
    config, said = family_config(family, 600), []
    for path in names_of(config):
        for value in (_MISSING, None, 'text', -1, [], {}):
            try:
                changed = broken(config, path, value)
                check_config(changed, 'there/config.json')
                base_sizes(changed)
            except ValueError as error:
                said.append(str(error))
    assert len(said) > 100
    assert [text for text in said if 'there/config.json' not in text] == []


def test_an_export_refuses_a_base_of_which_shards_are_mixed(base, bases, tmp_path):
    mixed_shards(base, bases)
    with pytest.raises(ValueError, match='is a shard of another model than'):
        export(base, TrainedTensors(), tmp_path / 'out', str)
    assert not (tmp_path / 'out').exists()
