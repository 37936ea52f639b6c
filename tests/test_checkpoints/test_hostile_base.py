"""A base from elsewhere is read; it runs nothing, and an export of it writes below its own folder only."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from projects.mask_caption_sft.checkpoints.released import ReleasedWeights
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE


@pytest.fixture
def base(tmp_path):
    return shutil.copytree(TRAINED_BASE, tmp_path / 'base')


SHARDS = ['../other/model.safetensors', '/tmp/model.safetensors', 'sub/m.safetensors', 'config.json']


@pytest.mark.parametrize('shard', SHARDS)
def test_a_shard_that_is_no_plain_name_of_weights_is_refused(base, tmp_path, shard):
    """``convert_to_hf.py`` wrote to that path below its output folder: over another model's weights."""
    tensors = load_file(base / 'model.safetensors')
    if not shard.startswith('/'):
        (base / shard).parent.mkdir(exist_ok=True)
        save_file(tensors, base / shard)
    index = {'weight_map': dict.fromkeys(tensors, shard)}
    (base / 'model.safetensors.index.json').write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r'names shards that are not plain \*\.safetensors beside it'):
        ReleasedWeights(base)


@pytest.mark.parametrize('index', ['{', '{}', '[]', '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none_is_named(base, index):
    (base / 'model.safetensors.index.json').write_text(index)
    with pytest.raises(ValueError, match=r'index\.json is not an index of shards'):
        ReleasedWeights(base)


def test_a_tokenizer_of_a_class_that_transformers_does_not_know_is_not_run(base, tmp_path, monkeypatch):
    """transformers asks on the terminal whether to run the code beside it; here someone says yes."""
    trap = tmp_path / 'executed'
    (base / 'trap.py').write_text(f'open({str(trap)!r}, "w").close()\nclass Trap: ...\n')
    path = base / 'tokenizer_config.json'
    settings = json.loads(path.read_text())
    settings |= {'tokenizer_class': 'Trap', 'auto_map': {'AutoTokenizer': ['trap.Trap', None]}}
    path.write_text(json.dumps(settings))
    monkeypatch.setattr('builtins.input', lambda *_: 'y')
    with pytest.raises(ValueError, match='custom code'):
        Sa2VA(base)
    assert not trap.exists()
