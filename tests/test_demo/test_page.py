"""The demo's page, served and asked as a browser asks it; what it shows is tested in test_comparison.py."""

import os

import numpy as np
import pytest
from PIL import Image

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
gradio = pytest.importorskip('gradio', reason='the page is an extra: requirements-demo.txt')
from gradio_client import Client, handle_file

from projects.mask_caption_sft.demo.comparison import Comparison, Shown
from projects.mask_caption_sft.demo.examples import tiny_examples
from projects.mask_caption_sft.demo.page import build_page, marked

pytestmark = pytest.mark.slow


class Scripted(Comparison):
    """Answers at once, and keeps what it was asked."""

    def __init__(self):
        super().__init__({'student': None, 'teacher': None})
        self.asked = []

    def describe(self, image, mask, num_captions=1):
        if not mask.any():
            raise ValueError('The mask is empty.')
        self.asked.append(('describe', image, mask, num_captions))
        return [Shown(name, 'the red star', image, mask) for name in self.models]

    def segment(self, image, text):
        self.asked.append(('segment', image, text))
        return [Shown(name, 'Sure, [SEG].', image, image[..., 0] > 100) for name in self.models]

    def round_trip(self, image1, mask1, image2, num_captions=1):
        self.asked.append(('round_trip', image1, mask1, image2, num_captions))
        return [Shown(name, 'the red star', image2) for name in self.models]


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """A page at a free port of this machine, and a client of it."""
    scripted = Scripted()
    page = build_page(scripted, tiny_examples(2), 'A page')
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name='127.0.0.1')
    yield scripted, Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp('got')))
    page.close()


@pytest.fixture
def files(tmp_path):
    """The first example as a browser would send it."""
    example = tiny_examples(1)[0]
    paths = [tmp_path / name for name in ('image.png', 'mask.png', 'second.png')]
    for path, content in zip(paths, (example.image1, example.mask1.astype(np.uint8) * 255, example.image2)):
        Image.fromarray(content).save(path)
    image, mask, second = (handle_file(str(path)) for path in paths)
    return example, dict(background=image, layers=[], composite=image), mask, second


def test_a_mask_is_described_by_every_model(served, files):
    scripted, client = served
    example, editor, mask, _ = files
    pictures, table = client.predict(editor, mask, 4, api_name='/describe')
    kind, image, asked_mask, count = scripted.asked[-1]
    assert (kind, count) == ('describe', 4)
    assert np.array_equal(image, example.image1)
    assert np.array_equal(asked_mask, example.mask1)
    assert [picture['caption'] for picture in pictures] == ['student: the red star', 'teacher: the red star']
    assert [row[:2] for row in table['data']] == [['student', 'the red star'], ['teacher', 'the red star']]


def test_a_text_and_a_round_trip_reach_the_models(served, files):
    scripted, client = served
    example, editor, mask, second = files
    _, table = client.predict(editor, 'the red thing', api_name='/segment')
    assert scripted.asked[-1][0::2] == ('segment', 'the red thing')
    assert table['data'][0][2].endswith('%')
    client.predict(editor, mask, second, 1, api_name='/round_trip')
    assert scripted.asked[-1][0] == 'round_trip'
    assert np.array_equal(scripted.asked[-1][3], example.image2)


def test_an_example_fills_the_page(served):
    _, client = served
    names = [f'{number}: {example.text}' for number, example in enumerate(tiny_examples(2))]
    editor, mask, second, text = client.predict(names[1], api_name='/example')
    assert text == tiny_examples(2)[1].text
    assert np.array_equal(np.asarray(Image.open(mask)) > 0, tiny_examples(2)[1].mask1)
    assert editor['background']
    assert second


def test_what_is_missing_is_said_on_the_page(served, files):
    _, client = served
    _, editor, mask, _ = files
    with pytest.raises(Exception, match='There is no image 2'):
        client.predict(editor, mask, None, 1, api_name='/round_trip')
    with pytest.raises(Exception, match='The mask is empty'):
        client.predict(editor, None, 1, api_name='/describe')
    with pytest.raises(Exception, match='There is no image 1'):
        client.predict(None, 'text', api_name='/segment')


def test_what_is_drawn_comes_before_a_mask_that_was_loaded():
    image, given = np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8)
    layer = np.zeros((4, 4, 4), np.uint8)
    assert marked(dict(layers=[layer]), given, image).all()
    layer[1, 2, 3] = 255
    assert marked(dict(layers=[layer]), given, image).nonzero() == (np.array([1]), np.array([2]))
