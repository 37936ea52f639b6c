"""Predictions in this process; tests/test_tools/test_checkpoints.py runs the tool on a run's files."""

import sys
from contextlib import suppress

import predict
import pytest
from PIL import Image

from projects.mask_caption_sft.datasets import image_cut
from projects.mask_caption_sft.demo import asking
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE, TRAINED_QWEN3_VL
from tests.tiny_base import cannot_write_seg, tiny_base, write_images


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """The upper half of a drawn image as ``scene.png``; runs the tool on it."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / 'world', num_images=1)
    drawn = next((tmp_path / 'world').rglob('*.jpg'))
    image = Image.open(drawn)
    image.crop((0, 0, image.width, image.height // 2)).save('scene.png')

    def run(*args: str) -> None:
        argv = ['predict.py', '--checkpoint', str(TRAINED_BASE), '--image', 'scene.png', '--device', 'cpu']
        monkeypatch.setattr(sys, 'argv', [*argv, *args])
        predict.main()

    return run


@pytest.mark.parametrize('base', [TRAINED_BASE, TRAINED_QWEN3_VL], ids=['internvl', 'qwen3_vl'])
def test_a_tiny_base_segments_without_being_told_how_its_images_are_cut(base, scene, tmp_path, capsys):
    scene('--text', 'the red thing', '--checkpoint', str(base))
    assert capsys.readouterr().out.startswith('Sure, [SEG].')
    assert (tmp_path / 'predictions' / 'mask_0.png').is_file()


@pytest.mark.parametrize(('args', 'tiles'), [((), 1), (('--max-tiles', '12'), 11)])
def test_an_image_has_as_many_tiles_as_the_base_was_trained_for_or_as_asked(scene, monkeypatch, args, tiles):
    seen = []
    monkeypatch.setattr(
        image_cut, 'resized_tiles', lambda *given: seen.append(len(cut(*given))) or cut(*given)
    )
    with suppress(SystemExit):  # tiles that it has never seen make the tiny base babble
        scene('--text', 'the red thing', *args)
    assert seen == [tiles]


def test_the_base_on_qwen3_vl_sees_an_image_as_large_as_it_is(scene, monkeypatch):
    """Upstream's limit would enlarge it to 401,408 pixels."""
    encode, seen = Sa2VA.encode_tiles, []

    def counted(model, pixels, grids=None):
        seen.extend(grids)
        return encode(model, pixels, grids)

    monkeypatch.setattr(Sa2VA, 'encode_tiles', counted)
    scene('--text', 'the red thing', '--checkpoint', str(TRAINED_QWEN3_VL))
    width, height = Image.open('scene.png').size
    assert seen == [(round(height / 32), round(width / 32))]


def test_an_answer_without_seg_is_an_error_that_quotes_it(scene, tmp_path, monkeypatch):
    silent = cannot_write_seg(tiny_base())
    monkeypatch.setattr(predict, 'load_trained', lambda *args, **kwargs: silent)
    monkeypatch.setattr(asking, 'answer', lambda *args: ask(*args, max_new_tokens=12))
    with pytest.raises(SystemExit, match=r"error: the answer has no \[SEG\], so there is no mask: 'Sure"):
        scene('--text', 'the red thing')
    assert not list((tmp_path / 'predictions').glob('*.png'))


cut, ask = image_cut.resized_tiles, asking.answer
