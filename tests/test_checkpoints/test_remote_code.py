"""The code of a base travels along with its export, and a file of another version can take its place."""

import importlib.util
import json
import sys
from pathlib import Path

import convert_to_hf
import pytest
from convert_to_hf import convert

from projects.mask_caption_sft.checkpoints.remote_code import evaluation_note
from tests.trained_miniature import Trained, arguments, make_trained

FILE = 'modeling_sa2va_chat.py'
V1 = 'def predict_forward(image=None, text=None, mask_prompts=None, tokenizer=None):\n    return "v1"\n'
V2 = 'def predict_forward(image=None, text=None, tokenizer=None, processor=None):\n    return "v2"\n'
CODE = {
    FILE: V1,
    'tokenization_internlm2.py': '# InternLM2\n',
    'sam3pkg_build_sam3_tracker.py': 'from .sam3pkg_model_memory import CXBlock\n',  # imported by one that is
    'sam3pkg_model_memory.py': 'CXBlock = None\n',
    'nested/deep/code.py': 'x = 1\n',
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Trained:
    """With a base that brings v1's code along."""
    found = make_trained(tmp_path_factory.mktemp('run'))
    for name, text in CODE.items():
        (found.base / name).parent.mkdir(parents=True, exist_ok=True)
        (found.base / name).write_text(text)
    path = found.base / 'config.json'
    auto_map = {'AutoConfig': 'configuration.Sa2VA', 'AutoModel': 'modeling_sa2va_chat.Sa2VAChatModel'}
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(auto_map=auto_map)))
    return found


@pytest.fixture
def v2(tmp_path) -> Path:
    """A file of v2's repository."""
    (tmp_path / 'v2').mkdir()
    (tmp_path / 'v2' / FILE).write_text(V2)
    return tmp_path / 'v2' / FILE


def predict_as_v2_does(folder: Path) -> str:
    """How ``sa2va_eval_refcoco.py`` calls the model, with a processor or without."""
    spec = importlib.util.spec_from_file_location('remote', folder / FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.predict_forward(image=None, text='', tokenizer=None, processor=None)


def run_tool(monkeypatch, capsys, *options: str) -> str:
    monkeypatch.setattr(sys, 'argv', ['convert_to_hf.py', *options])
    convert_to_hf.main()
    return capsys.readouterr().out


def test_all_code_of_the_base_travels_along(trained, tmp_path):
    convert(arguments(trained.checkpoint, tmp_path / 'out'))
    assert {name: (tmp_path / 'out' / name).read_text() for name in CODE} == CODE


def test_v1s_code_is_said_not_to_run_in_v2s_scripts(trained, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    options = ('--model_path', str(trained.checkpoint), '--output_dir', str(out))
    printed = run_tool(monkeypatch, capsys, *options)
    assert printed.splitlines()[-1] == (
        f"note: {FILE} is upstream's v1 code. Its v1 scripts run it; v2's end with TypeError: ... "
        f"'processor'. For those name v2's: --code SA2VA/projects/sa2va/hf/models/{FILE}"
    )
    with pytest.raises(TypeError, match='processor'):
        predict_as_v2_does(out)


def test_a_named_file_takes_the_place_of_the_bases(trained, v2, tmp_path, monkeypatch, capsys):
    out, extra = tmp_path / 'out', tmp_path / 'extra.py'
    extra.write_text('y = 2\n')
    options = ('--model_path', str(trained.checkpoint), '--output_dir', str(out))
    printed = run_tool(monkeypatch, capsys, *options, '--code', str(v2), '--code', str(extra))
    assert 'note:' not in printed
    assert predict_as_v2_does(out) == 'v2'
    expected = CODE | {FILE: V2, 'extra.py': 'y = 2\n'}
    assert {name: (out / name).read_text() for name in expected} == expected
    assert (trained.base / FILE).read_text() == V1


@pytest.mark.parametrize(
    ('code', 'has_note'),
    [(V1, True), (V2, False), ('def predict_forward(image, **kwargs): ...\n', False), ('x = 1\n', False)],
)
def test_only_a_predict_forward_that_takes_no_processor_is_spoken_of(tmp_path, code, has_note):
    (tmp_path / 'config.json').write_text(json.dumps(dict(auto_map={'AutoModel': 'own.Own'})))
    (tmp_path / 'own.py').write_text(code)
    assert (evaluation_note(tmp_path) is not None) == has_note


def test_a_base_without_code_is_let_be_unless_its_config_names_some(tmp_path):
    (tmp_path / 'config.json').write_text('{}')
    assert evaluation_note(tmp_path) is None
    (tmp_path / 'config.json').write_text(json.dumps(dict(auto_map={'AutoModel': 'their/repo--own.Own'})))
    assert evaluation_note(tmp_path) == (
        "note: config.json names own.py as the model's code, and the base has none; --code adds it."
    )


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('nowhere.py', None, r'--code .*nowhere\.py does not exist, or is a folder\. Name a file of Python'),
        ('weights.bin', 'x', r'--code .*weights\.bin is not a file of Python'),
        ('broken.py', 'def (', r'broken\.py is not Python that can be read'),
    ],
)
def test_a_file_that_would_not_load_is_refused_and_nothing_written(trained, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises((OSError, ValueError), match=message):
        convert(arguments(trained.checkpoint, tmp_path / 'out', code=[str(tmp_path / name)]))
    assert not (tmp_path / 'out').exists()


def test_two_files_of_a_name_and_an_adapter_with_code_are_refused(trained, v2, tmp_path):
    with pytest.raises(ValueError, match=r'--code names modeling_sa2va_chat\.py twice'):
        convert(arguments(trained.checkpoint, tmp_path / 'out', code=[str(v2), str(trained.base / FILE)]))
    with pytest.raises(ValueError, match='An adapter brings no code along'):
        convert(arguments(trained.checkpoint, tmp_path / 'out', code=[str(v2)], adapter=True))
