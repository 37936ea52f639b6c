"""Scenes in which no kind of word tells by itself what is meant."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np

from .scene import COLORS, KINDS, SHAPES, Scene, Thing, moved, random_background


def confusable_scene(
    rng: np.random.Generator,
    num_things: tuple[int, int] = (3, 5),
    colors: tuple[str, ...] = tuple(COLORS),
    shapes: tuple[str, ...] = SHAPES,
    plain: bool = False,
    told_by: Collection[str] = KINDS,
    shared_probs: Mapping[str, float] = MappingProxyType({'color': 0.45, 'shape': 0.35}),
) -> Scene:
    """Things that do not overlap, each of which has a word that another one lacks.

    Args:
        rng: Random numbers.
        num_things: Smallest and largest number of things.
        colors, shapes: What they are drawn from.
        plain: Without a texture in the background.
        told_by: The kinds of those words.
        shared_probs: How often all things of the scene share one or two colours, so that the colour
            alone does not tell which one is meant, and how often one or two shapes.
    """
    chance = rng.random()
    if chance < shared_probs['color']:
        colors = _one_or_two(rng, colors)
    elif chance < shared_probs['color'] + shared_probs['shape']:
        shapes = _one_or_two(rng, shapes)
    things = _place_things(rng, num_things, colors, shapes, told_by)
    return Scene(things, *random_background(rng, plain))


def confusable_pair(rng: np.random.Generator) -> tuple[Scene, Scene]:
    """A scene and the same a moment later, told by what stays: in the second view things are elsewhere."""
    first = confusable_scene(rng, told_by=('size', 'color', 'shape'))
    return first, moved(first, rng)


def _one_or_two(rng: np.random.Generator, words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(rng.choice(words, min(len(words), int(rng.integers(1, 3))), replace=False))


def _place_things(
    rng: np.random.Generator,
    num_things: tuple[int, int],
    colors: tuple[str, ...],
    shapes: tuple[str, ...],
    told_by: Collection[str],
) -> list[Thing]:
    """As many as are wanted, or fewer, if no place is found for more."""
    wanted = int(rng.integers(num_things[0], num_things[1] + 1))
    things: list[Thing] = []
    for _ in range(300):
        if len(things) == wanted:
            break
        radius = float(rng.choice([rng.uniform(0.09, 0.12), rng.uniform(0.15, 0.19)]))
        x, y = rng.uniform(radius + 0.02, 0.98 - radius, 2)
        thing = Thing(str(rng.choice(colors)), str(rng.choice(shapes)), float(x), float(y), radius)
        apart = all(np.hypot(t.x - x, t.y - y) > t.radius + radius + 0.03 for t in things)
        if apart and all(_differ(t, thing, told_by) for t in things):
            things.append(thing)
    return things


def _differ(thing: Thing, other: Thing, told_by: Collection[str]) -> bool:
    return not (_covers(thing, other, told_by) or _covers(other, thing, told_by))


def _covers(thing: Thing, other: Thing, kinds: Collection[str]) -> bool:
    """Whether all that is true of the other one is true of this one: "left" of a thing at the top left."""
    return all(set(other.words(kind)) <= set(thing.words(kind)) for kind in kinds)
