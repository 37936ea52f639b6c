"""An adapter says and segments what the whole export does, and peft reads it."""

import json
from argparse import Namespace

import pytest
import torch
from _config import take_adapter
from convert_to_hf import convert
from peft import PeftModel
from transformers import Qwen2Config, Qwen2ForCausalLM

from projects.mask_caption_sft.checkpoints.adapter import CONFIG, LORA, REST, read_adapter
from projects.mask_caption_sft.checkpoints.released import ReleasedWeights
from projects.mask_caption_sft.checkpoints.upstream_file import upstream_state
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.sa2va.building import load_trained
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests import miniature
from tests.trained_miniature import arguments, outputs


@pytest.fixture(scope='module')
def both(trained_miniature, tmp_path_factory):
    """The folders of a whole export and of an adapter of one checkpoint."""
    folder = tmp_path_factory.mktemp('both')
    convert(arguments(trained_miniature.checkpoint, folder / 'whole'))
    convert(arguments(trained_miniature.checkpoint, folder / 'adapter', adapter=True))
    return folder


def test_masks_and_texts_are_those_of_the_whole_export(both):
    whole, adapter = (load_trained(both / name).eval() for name in ('whole', 'adapter'))
    expected, found = outputs(whole), outputs(adapter)
    assert found[0] == expected[0]
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])
    base = outputs(Sa2VA(adapter.base).eval())
    assert not torch.equal(found[1], base[1])


def test_it_holds_what_was_trained_and_nothing_of_the_base(both):
    names = sorted(path.name for path in (both / 'adapter').iterdir())
    assert names == ['README.md', CONFIG, LORA, REST]
    groups = {name.split('.')[0] for name in read_adapter(both / 'adapter').trained.replaced}
    assert groups == {'mlp1', 'grounding_encoder', 'text_hidden_fcs'}


def test_peft_loads_its_lora_over_the_bases_language_model(both, trained_miniature):
    config = json.loads((trained_miniature.base / 'config.json').read_text())['llm_config']

    def language_model(weights):
        model = Qwen2ForCausalLM(Qwen2Config(**config))
        prefix = 'language_model.'
        state = {k.removeprefix(prefix): weights[k] for k in weights if k.startswith(prefix)}
        missing, surplus = model.load_state_dict(state, strict=False)
        assert not surplus
        assert set(missing) <= {'lm_head.weight'}
        return model

    base = language_model(ReleasedWeights(trained_miniature.base))
    merged = PeftModel.from_pretrained(base, str(both / 'adapter')).merge_and_unload()
    expected = language_model(ReleasedWeights(both / 'whole')).state_dict()
    moved = 0
    untouched = language_model(ReleasedWeights(trained_miniature.base)).state_dict()
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
        moved += not torch.equal(tensor, untouched[name])
    assert moved >= 7


def test_an_adapter_becomes_a_whole_model_again(both, tmp_path):
    convert(arguments(both / 'adapter', tmp_path / 'out'))
    whole, again = ReleasedWeights(both / 'whole'), ReleasedWeights(tmp_path / 'out')
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_an_adapter_becomes_upstreams_file(both):
    expected, found = upstream_state(both / 'whole'), upstream_state(both / 'adapter')
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_teacher_has_an_adapter_of_its_own(trained_miniature, both, tmp_path):
    convert(arguments(trained_miniature.checkpoint, tmp_path / 'teacher', adapter=True, teacher=True))
    student, teacher = (read_adapter(path).trained for path in (both / 'adapter', tmp_path / 'teacher'))
    assert student.names() == teacher.names()
    assert not any(torch.equal(student.lora[name][1], teacher.lora[name][1]) for name in student.lora)


def test_the_student_of_a_built_run_takes_it_below_a_lora_of_its_own(both, trained_miniature):
    """As tools/test.py and tools/probe_listener.py evaluate an adapter."""
    settings = dict(
        sa2va=dict(base=str(trained_miniature.base), lora=miniature.LORA), objectives=miniature.objectives()
    )
    model = MaskCaptionSFT(**settings, max_caption_len=5).eval()
    take_adapter(Namespace(model=model), str(both / 'adapter'))
    found, expected = outputs(model.student), outputs(load_trained(both / 'whole').eval())
    assert found[0] == expected[0]
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-5)


def test_what_does_not_fit_is_refused(both, trained_miniature, tmp_path):
    (tmp_path / 'config').mkdir()
    (tmp_path / 'config' / 'adapter_config.json').write_text('{"peft_type": "LORA"}')
    with pytest.raises(FileNotFoundError, match=r'lacks adapter_model\.safetensors, sa2va_modules'):
        load_trained(tmp_path / 'config')
    for path in (both / 'adapter').iterdir():
        (tmp_path / 'config' / path.name).write_bytes(path.read_bytes())
    config = json.loads((both / 'adapter' / 'adapter_config.json').read_text())
    for change, said in (
        (
            {'base_model_name_or_path': 'ORG/NAME'},
            "of the base 'ORG/NAME', which is no directory .*--base",
        ),
        ({'use_dora': True}, 'is not of a plain LoRA'),
        ({'base_model_name_or_path': str(both / 'whole')}, 'was trained on another base: fingerprint'),
    ):
        (tmp_path / 'config' / 'adapter_config.json').write_text(json.dumps(config | change))
        with pytest.raises(ValueError, match=said):
            load_trained(tmp_path / 'config')
    assert load_trained(both / 'adapter', str(trained_miniature.base)).base == str(trained_miniature.base)
