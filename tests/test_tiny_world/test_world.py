"""The tiny world: seeded, in the real formats, with something left to learn from masks alone."""

import hashlib
import pickle
import re

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from projects.mask_caption_sft.tiny_world.confusable import confusable_scene
from projects.mask_caption_sft.tiny_world.expressions import (
    attributes,
    expression,
    expressions,
    fits,
    names_only,
)
from projects.mask_caption_sft.tiny_world.scene import (
    COLORS,
    HUMAN_COLORS,
    HUMAN_SHAPES,
    KINDS,
    SHAPES,
    UNHEARD,
    UNSAID,
    Scene,
    Thing,
    draw,
    moved,
)
from projects.mask_caption_sft.tiny_world.scenes_file import read_scenes, scenes_path
from projects.mask_caption_sft.tiny_world.world import write_world


def fingerprint(folder) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.suffix != '.npz'  # a zip holds the time of writing
    }


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp('world')
    write_world(folder, seed=1, num_train=3, num_val=2)
    return folder


def test_the_same_seed_writes_the_same_bytes(world, tmp_path):
    write_world(tmp_path, seed=1, num_train=3, num_val=2)
    assert fingerprint(tmp_path) == fingerprint(world)
    for path in world.rglob('*.npz'):
        first, again = np.load(path), np.load(tmp_path / path.relative_to(world))
        assert all(np.array_equal(first[key], again[key]) for key in first.files)


def test_another_seed_writes_another_world(world, tmp_path):
    write_world(tmp_path, seed=2, num_train=3, num_val=2)
    ours, other = fingerprint(world), fingerprint(tmp_path)
    assert all(ours[name] != other[name] for name in ours if name.endswith('.jpg') and name in other)


def test_a_world_is_reused_only_if_it_is_whole_and_this_code_with_these_arguments_wrote_it(tmp_path):
    small = dict(num_train=1, num_val=1, reuse=True)
    assert write_world(tmp_path, **small)
    assert not write_world(tmp_path, **small)
    assert write_world(tmp_path, seed=1, **small)
    stamp = tmp_path / 'world.json'
    stamp.write_text(re.sub('code_and_base": "..', 'code_and_base": "xx', stamp.read_text()))
    assert write_world(tmp_path, seed=1, **small)
    stamp.unlink()  # as after a kill in the middle
    assert write_world(tmp_path, seed=1, **small)


def test_human_expressions_of_training_cover_a_part_masks_cover_everything(world):
    refs = pickle.loads((world / 'refcoco' / 'refs(unc).p').read_bytes())
    words = {
        word for ref in refs if ref['split'] == 'train' for s in ref['sentences'] for word in s['tokens']
    }
    assert words.isdisjoint(set(COLORS) - set(HUMAN_COLORS))
    assert words.isdisjoint(set(SHAPES) - set(HUMAN_SHAPES))


def scenes(number: int) -> list[Scene]:
    return [confusable_scene(np.random.default_rng(seed)) for seed in range(number)]


def test_an_expression_names_one_thing_only():
    for scene in scenes(50):
        for index, thing in enumerate(scene.things):
            for text in expressions(scene.things, index):
                assert [t for t in scene.things if is_meant(t, text)] == [thing], text


def is_meant(thing: Thing, text: str) -> bool:
    """As people mean it: what is at the top left is not "at the left"."""
    name, _, place = text.removeprefix('the ').partition(' at the ')
    return fits(thing, attributes(name)) and (not place or place == thing.place)


def test_words_are_true_or_not_by_hand():
    star = Thing('red', 'star', 0.2, 0.3, 0.1)
    assert expression(star, KINDS) == 'the small red star at the top left'
    assert expression(star, ('place',)) == 'the thing at the top left'
    assert attributes('the small thing at the top left') == {'small', 'top', 'left'}
    assert fits(star, {'left', 'red'})
    assert not fits(star, {'right'})
    assert not fits(star, {'top', 'left', 'large'})
    other = Thing('red', 'star', 0.8, 0.3, 0.1)
    assert not names_only([star, other], 0, 'the red star at the top')
    assert names_only([star, other], 0, 'the star at the left')
    assert not names_only([star, other], 1, 'the star at the left')


def test_no_kind_tells_in_all_confusable_scenes():
    drawn = scenes(200)

    def told_by(*kinds: str) -> float:
        told = [names_only(s.things, i, expression(t, kinds)) for s in drawn for i, t in enumerate(s.things)]
        return float(np.mean(told))

    for kind in ('size', 'color', 'shape'):
        assert 0.05 < told_by(kind) < 0.5, kind
    assert 0.05 < told_by('place') < 0.85
    assert told_by(*KINDS) == 1


def test_things_of_a_pair_are_told_without_their_places():
    """They are elsewhere in the second view."""
    for seed in range(50):
        things = confusable_scene(np.random.default_rng(seed), told_by=('size', 'color', 'shape')).things
        for index, thing in enumerate(things):
            assert names_only(things, index, expression(thing, ('size', 'color', 'shape')))


def test_scenes_say_what_is_drawn(world):
    for name in ('train/sav', 'train/sa1b', 'val/sav', 'val/sa1b'):
        read = read_scenes(scenes_path(world / name))
        files = list((world / name).rglob('*.npz' if 'sav' in name else '*.jpg'))
        assert set(read) == {path.stem for path in files}
    things = read_scenes(scenes_path(world / 'val' / 'sa1b'))['sa_000000']
    image = np.asarray(Image.open(world / 'val' / 'sa1b' / 'sa_000000.jpg')).astype(int)
    height, width = image.shape[:2]
    for thing in things:
        pixel = image[round(thing.y * height), round(thing.x * width)]
        assert np.abs(pixel - COLORS[thing.color]).max() < 30


@pytest.mark.parametrize('text', ['', '[]', '{"a": [{"color": "red"}]}', '{"a": 3}'])
def test_another_file_is_no_file_of_scenes(tmp_path, text):
    path = tmp_path / 'scenes.json'
    with pytest.raises(FileNotFoundError, match='make_tiny_world'):
        read_scenes(path)
    path.write_text(text)
    with pytest.raises(ValueError, match='is not a file of scenes'):
        read_scenes(path)


def test_masks_are_what_is_drawn():
    red = Thing('red', 'square', 0.5, 0.5, 0.25)
    image, masks = draw(Scene([red], (100, 100, 100), 'plain', 0), 100, 80)
    assert masks.shape == (1, 80, 100)
    assert (image[masks[0]] == COLORS['red']).all()
    assert (image[~masks[0]] == 100).all()
    half = 0.88 * 0.25 * 80
    assert masks[0].sum() == pytest.approx((2 * half) ** 2, rel=0.1)


def test_things_move_between_the_frames_of_a_pair():
    rng = np.random.default_rng(0)
    scene = confusable_scene(rng)
    later = moved(scene, rng)
    assert [(t.color, t.shape) for t in later.things] == [(t.color, t.shape) for t in scene.things]
    assert all((a.x, a.y) != (b.x, b.y) for a, b in zip(scene.things, later.things))
    assert (later.background, later.texture_seed) != (scene.background, scene.texture_seed)


def test_people_say_what_the_base_neither_lacks_nor_misses():
    model = Config.fromfile('configs/sa2va_tiny_base.py').model
    assert model.captions.unsaid == UNSAID
    assert model.unheard == UNHEARD
    assert {*UNSAID, *UNHEARD}.isdisjoint({*HUMAN_COLORS, *HUMAN_SHAPES})
    assert {*UNSAID, *UNHEARD, *HUMAN_COLORS, *HUMAN_SHAPES} == {*COLORS, *SHAPES}


def all_texts(scene: Scene) -> list[str]:
    return [text for i in range(len(scene.things)) for text in expressions(scene.things, i)]


def test_people_say_no_more_than_they_need():
    circle, star, other = (
        Thing('red', 'circle', 0.2, 0.5, 0.1),
        Thing('red', 'star', 0.8, 0.5, 0.1),
        Thing('red', 'star', 0.2, 0.2, 0.1),
    )
    told = expressions([circle, star, other], 0)
    assert {'the circle', 'the red circle', 'the circle at the left'} <= set(told)
    assert not any(len(attributes(text)) > 2 for text in told)
    assert 'the thing at the top left' in expressions([circle, star, other], 2)
    twins = [star, Thing('red', 'star', 0.8, 0.5, 0.1)]
    assert expressions(twins, 0) == []
