"""The demo's page in headless Chromium, with the tiny world's base behind it."""

import os

import numpy as np
import pytest

os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
pytest.importorskip('gradio', reason='the page is an extra: requirements-demo.txt')

from projects.mask_caption_sft.demo.comparison import Comparison
from projects.mask_caption_sft.demo.examples import tiny_examples
from projects.mask_caption_sft.demo.page import THEME, build_page
from tests.browser import chromium, opened, overflow
from tests.tiny_base import tiny_base

pytestmark = pytest.mark.slow
CHOSEN = 1
EXAMPLE = tiny_examples(2)[CHOSEN]


class Noting(Comparison):
    """Keeps the images and masks that it was asked about."""

    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []

    def describe(self, image, mask, num_captions=1):
        self.images.append(image)
        self.masks.append(mask)
        return super().describe(image, mask, num_captions)


@pytest.fixture(scope='module')
def asked():
    chromium()  # before anything is loaded: skips
    return Noting({'base': tiny_base(round_grounding_stats=True)})


@pytest.fixture(scope='module')
def address(asked):
    page = build_page(asked, tiny_examples(2), 'A page')
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name='127.0.0.1', theme=THEME)
    yield address
    page.close()


@pytest.fixture
def shown(address, tmp_path):
    """The page with its example picked; at the end it must have made no error and asked nobody else."""
    with opened(address, tmp_path) as (page, seen):
        page.get_by_label('Example').click()
        page.get_by_role('option', name=f'{CHOSEN}: {EXAMPLE.text}').click()
        page.wait_for_function(
            'text => [...document.querySelectorAll("textarea, input")].some(box => box.value === text)',
            arg=EXAMPLE.text,
        )
        yield page
        assert overflow(page) <= 0
        assert seen.errors == []
        assert seen.hosts <= {'', '127.0.0.1'}


def row(page) -> list[str]:
    """What the page says in words, once there is an answer."""
    page.get_by_text('base: ').first.wait_for()
    return [page.get_by_test_id(f'cell-0-{column}').inner_text().strip() for column in range(3)]


def said(answer) -> list[str]:
    return [answer.name, answer.text, '-' if answer.mask is None else f'{answer.mask.mean():.2%}']


def test_an_example_is_described(shown, asked):
    shown.get_by_role('button', name='Mask -> caption', exact=True).click()
    (expected,) = Comparison.describe(asked, EXAMPLE.image1, EXAMPLE.mask1)
    assert row(shown) == said(expected)
    assert np.array_equal(asked.masks[-1], EXAMPLE.mask1)
    assert np.array_equal(asked.images[-1], EXAMPLE.image1)  # not compressed on its way


def test_its_text_finds_a_mask(shown, asked):
    shown.get_by_role('button', name='Text -> mask').click()
    (expected,) = asked.segment(EXAMPLE.image1, EXAMPLE.text)
    assert row(shown) == said(expected)
    assert shown.evaluate('[...document.images].every(image => image.naturalWidth > 0)')


def test_a_caption_finds_the_thing_in_the_second_image(shown, asked):
    shown.get_by_role('button', name="Mask -> caption -> mask'").click()
    (expected,) = asked.round_trip(EXAMPLE.image1, EXAMPLE.mask1, EXAMPLE.image2)
    assert row(shown) == said(expected)
    assert expected.mask is not None


def test_what_is_drawn_with_the_mouse_is_described(shown, asked):
    canvas = shown.locator('canvas').first
    box = canvas.bounding_box()
    x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    shown.mouse.move(x - 30, y)
    shown.mouse.down()
    shown.mouse.move(x + 30, y, steps=10)
    shown.mouse.up()
    before = len(asked.masks)
    shown.get_by_role('button', name='Mask -> caption', exact=True).click()
    assert row(shown)[0] == 'base'
    mask = asked.masks[before]
    rows, columns = np.nonzero(mask)
    assert 0 < mask.sum() < EXAMPLE.mask1.size / 4
    assert not np.array_equal(mask, EXAMPLE.mask1)
    assert np.ptp(columns) > np.ptp(rows)  # a line from left to right
