"""Which template a user's base is asked with, and where its answers stop, from tools/predict.py on."""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import predict
import pytest
import torch
from PIL import Image

from projects.mask_caption_sft.demo import asking
from projects.mask_caption_sft.sa2va.building import load_trained
from projects.mask_caption_sft.tiny_world.base_model import write_base
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE
from tests.tiny_base import says_instead, tiny_base, write_images

QUESTION = '\n Please segment the red thing in this image.'
#: What stands around the user's words, and the end of turn.
FRAMES = {
    'phi3_chat': ('<|user|>\n<img></img>', '<|end|>\n<|assistant|>\n', '<|end|>'),
    'qwen_chat': (
        '<|im_start|>user\n<img></img>',
        '<|im_end|>\n<|im_start|>assistant\n',
        '<|im_end|>',
    ),
}


@pytest.fixture(scope='module')
def qwen_base(tmp_path_factory) -> Path:
    """The tiny base with phi3's markers changed for qwen's, as its config.json says."""
    model = says_instead(tiny_base(), **{'<|end|>': '<|im_end|>', '<|user|>': '<|im_start|>'})
    model.config['template'] = 'qwen_chat'
    folder = tmp_path_factory.mktemp('bases') / 'qwen'
    write_base(model, folder)
    return folder


@pytest.fixture
def no_template(tmp_path) -> Path:
    """The tiny base whose config.json does not say how it was asked in training."""
    base = shutil.copytree(TRAINED_BASE, tmp_path / 'base')
    state(base, None)
    return base


def state(base: Path, template: str | None) -> None:
    config = json.loads((base / 'config.json').read_text()) | {'template': template}
    (base / 'config.json').write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def checkpoint_over(base: Path, path: Path) -> Path:
    """A training checkpoint that changes nothing."""
    trained = tiny_base().trained_state_dict()
    tensors = {f'{side}.{name}': t for side in ('student', 'teacher') for name, t in trained.items()}
    torch.save(dict(state_dict=tensors, meta=dict(sa2va=dict(base=str(base)))), path)
    return path


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Runs the tool on a drawn image; returns the prompt as text and the answer's ids, for each question."""
    monkeypatch.chdir(tmp_path)
    region = write_images(tmp_path / 'world', num_images=1)[0].view1
    Image.open(next((tmp_path / 'world').rglob('*.jpg'))).save('scene.png')
    Image.fromarray(255 * region.masks[0].numpy().astype(np.uint8)).save('mask.png')
    seen: list[tuple[str, list[int], predict.Sa2VA]] = []

    def answer(model, features, prompt):
        found = ANSWER(model, features, prompt, max_new_tokens=24)
        seen.append((text_of(model, prompt.embeds), found.token_ids.tolist(), model))
        return found

    def run(checkpoint: Path, *args: str):
        argv = ['predict.py', '--checkpoint', str(checkpoint), '--image', 'scene.png', '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', [*argv, *args])
        predict.main()

    monkeypatch.setattr(asking, 'answer', answer)
    run.seen = seen
    return run


def text_of(model, prompt: torch.Tensor) -> str:
    """The words of an embedded prompt; what is no token's embedding is of the image and left out."""
    is_token = (prompt[:, None] == model.embedding[None]).all(-1)
    return model.text.tokenizer.decode(is_token.nonzero()[:, 1])


ANSWER = asking.answer


@pytest.mark.parametrize('template', FRAMES)
def test_a_base_is_asked_in_the_template_that_it_states(ask, qwen_base, template):
    with suppress(SystemExit):  # the tiny base knows phi3's only, and may write no [SEG]
        ask(qwen_base if template == 'qwen_chat' else TRAINED_BASE, '--text', 'the red thing')
    head, tail, _ = FRAMES[template]
    assert ask.seen[0][0] == head + QUESTION + tail


@pytest.mark.parametrize('template', FRAMES)
def test_a_caption_stops_at_the_end_of_turn_of_that_template(ask, qwen_base, template, capsys):
    ask(qwen_base if template == 'qwen_chat' else TRAINED_BASE, '--mask', 'mask.png')
    ((prompt, written, model),) = ask.seen
    head, tail, end = FRAMES[template]
    assert prompt.startswith(head)
    assert prompt.endswith(tail)
    assert model.text.end_ids == [model.text.tokenizer.convert_tokens_to_ids(end)]
    assert [token for token in written if token in model.text.end_ids] == written[-1:]
    assert len(written) > 1
    assert capsys.readouterr().out.strip() == model.text.tokenizer.decode(written[:-1]).strip()


def test_a_training_checkpoint_is_asked_in_the_template_of_its_base(qwen_base, tmp_path):
    model = load_trained(checkpoint_over(qwen_base, tmp_path / 'iter_1.pth'))
    assert model.text.template.before_answer == FRAMES['qwen_chat'][1]
    assert model.text.template.end_of_turn == '<|im_end|>'


@pytest.mark.parametrize('kind', ['directory', 'training checkpoint'])
def test_a_base_that_states_no_template_is_refused_with_what_to_add(ask, no_template, kind, tmp_path):
    path = no_template if kind == 'directory' else checkpoint_over(no_template, tmp_path / 'iter_1.pth')
    with pytest.raises(SystemExit) as stopped:
        ask(path, '--mask', 'mask.png')
    message = str(stopped.value)
    assert message.startswith(f'error: config.json of {no_template} states no "template". Add the one it was')
    assert '\n' not in message
    assert '("template": "phi3_chat" for Sa2VA-4B' in message
    state(no_template, 'phi3_chat')  # what the message says
    ask(path, '--mask', 'mask.png')
    assert ask.seen[0][0].startswith('<|user|>')
