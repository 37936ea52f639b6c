"""The tiny world: seeded, in the real formats, with something left to learn from masks alone."""

import hashlib
import pickle

import numpy as np
import pytest
from mmengine.config import Config

from projects.mask_caption_sft.tiny_world.scene import (
    COLORS,
    HUMAN_COLORS,
    HUMAN_SHAPES,
    SHAPES,
    Scene,
    Thing,
    draw,
    expressions_for,
    moved,
    random_scene,
)
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


def test_human_expressions_of_training_cover_a_part_masks_cover_everything(world):
    refs = pickle.loads((world / 'refcoco' / 'refs(unc).p').read_bytes())
    words = {
        word for ref in refs if ref['split'] == 'train' for s in ref['sentences'] for word in s['tokens']
    }
    assert words.isdisjoint(set(COLORS) - set(HUMAN_COLORS))
    assert words.isdisjoint(set(SHAPES) - set(HUMAN_SHAPES))


def test_an_expression_names_one_thing_only():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = random_scene(rng)
        for index, thing in enumerate(scene.things):
            for text in expressions_for(scene, index, rng, count=9):
                fitting = [t for t in scene.things if fits(t, text)]
                assert fitting == [thing], text


def fits(thing: Thing, text: str) -> bool:
    name, _, place = text.removeprefix('the ').partition(' at the ')
    traits = {thing.color, thing.shape, thing.size_word, 'thing'}
    return set(name.split()) <= traits and (not place or place == thing.place)


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
    scene = random_scene(rng)
    later = moved(scene, rng)
    assert [(t.color, t.shape) for t in later.things] == [(t.color, t.shape) for t in scene.things]
    assert all((a.x, a.y) != (b.x, b.y) for a, b in zip(scene.things, later.things))


def test_the_base_learns_to_write_the_words_of_the_human_part_only():
    words = set(Config.fromfile('configs/sa2va_tiny_base.py').model.caption_words)
    assert words & set(COLORS) == set(HUMAN_COLORS)
    assert words & set(SHAPES) == set(HUMAN_SHAPES)
    texts = {text for seed in range(99) for text in all_texts(random_scene(np.random.default_rng(seed)))}
    assert {word for text in texts for word in text.split()} <= words | set(COLORS) | set(SHAPES)


def all_texts(scene: Scene) -> list[str]:
    rng = np.random.default_rng(0)
    return [text for i in range(len(scene.things)) for text in expressions_for(scene, i, rng, count=9)]
