"""Scenes in which the colour alone does not tell what is meant."""

import numpy as np

from .scene import COLORS, KINDS, SHAPES, Scene, Thing, random_background


def confusable_scene(
    rng: np.random.Generator,
    num_things: tuple[int, int] = (3, 5),
    colors: tuple[str, ...] = tuple(COLORS),
    shapes: tuple[str, ...] = SHAPES,
    plain: bool = False,
    shared_prob: float = 0.85,
) -> Scene:
    """Things that do not overlap, each of which has a word that another one lacks.

    Args:
        rng: Random numbers.
        num_things: Smallest and largest number of things.
        colors, shapes: What they are drawn from.
        plain: Without a texture in the background.
        shared_prob: How often all things of the scene share one or two colours, so that
            the colour alone does not tell which one is meant.
    """
    if rng.random() < shared_prob:
        colors = tuple(rng.choice(colors, min(len(colors), int(rng.integers(1, 3))), replace=False))
    things = _place_things(rng, num_things, colors, shapes)
    return Scene(things, *random_background(rng, plain))


def _place_things(
    rng: np.random.Generator, num_things: tuple[int, int], colors: tuple[str, ...], shapes: tuple[str, ...]
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
        if apart and all(_differ(t, thing) for t in things):
            things.append(thing)
    return things


def _differ(thing: Thing, other: Thing) -> bool:
    return not (_covers(thing, other) or _covers(other, thing))


def _covers(thing: Thing, other: Thing) -> bool:
    """Whether all that is true of the other one is true of this one: "left" of a thing at the top left."""
    return all(set(other.words(kind)) <= set(thing.words(kind)) for kind in KINDS)
