"""One scene: coloured shapes on a textured background, and what people would call them."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLORS = {
    'red': (220, 40, 40),
    'green': (50, 170, 60),
    'blue': (50, 80, 220),
    'yellow': (235, 210, 50),
    'purple': (150, 60, 180),
    'orange': (240, 140, 40),
}
SHAPES = ('circle', 'square', 'triangle', 'star')
#: What human expressions cover in the training set of the loop; masks cover everything.
HUMAN_COLORS, HUMAN_SHAPES = ('red', 'green', 'blue'), ('circle', 'square')
#: What the tiny base does not know at the start. It hears UNSAID words and says others in their place; it
#: says UNHEARD words and does not find what they mean.
UNSAID, UNHEARD = ('yellow', 'purple', 'triangle'), ('orange', 'star')

#: The kinds of words, in the order in which an expression says them.
KINDS = ('size', 'color', 'shape', 'place')
SIZES = ('small', 'large')
PLACES = ('left', 'right', 'top', 'bottom', 'middle')
WORDS: dict[str, tuple[str, ...]] = {
    'size': SIZES, 'color': tuple(COLORS), 'shape': SHAPES, 'place': PLACES,
}  # fmt: skip
KIND_OF = {word: kind for kind, words in WORDS.items() for word in words}


@dataclass
class Thing:
    """One shape; ``x`` and ``y`` are its centre and ``radius`` its half size, in shares of the side."""

    color: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def size(self) -> str:
        return 'small' if self.radius < 0.135 else 'large'

    @property
    def place(self) -> str:
        horizontal = 'left' if self.x < 0.42 else 'right' if self.x > 0.58 else ''
        vertical = 'top' if self.y < 0.42 else 'bottom' if self.y > 0.58 else ''
        return f'{vertical} {horizontal}'.strip() or 'middle'

    def words(self, kind: str) -> tuple[str, ...]:
        """What is true of it, of one of ``KINDS``: one word, or two of place."""
        return tuple(getattr(self, kind).split())


@dataclass
class Scene:
    """Things and a background; ``texture_seed`` makes the background's noise."""

    things: list[Thing]
    background: tuple[int, ...]
    texture: str
    texture_seed: int


def random_background(rng: np.random.Generator, plain: bool = False) -> tuple[tuple[int, ...], str, int]:
    """Background, texture and its seed, for a :class:`Scene`."""
    level = rng.integers(90, 200)
    color = tuple(int(v) for v in np.clip(level + rng.integers(-15, 16, 3), 0, 255))
    texture = 'plain' if plain else str(rng.choice(['plain', 'noise', 'stripes', 'gradient']))
    return color, texture, int(rng.integers(2**31))


def moved(scene: Scene, rng: np.random.Generator, step: float = 0.5) -> Scene:
    """The scene a moment later, before another background: things have moved, and grown or shrunk a little.

    Args:
        scene: The first view.
        rng: Random numbers.
        step: How far a thing moves at most along each axis, in shares of the side.
    """
    things: list[Thing] = []
    for thing in scene.things:
        for _ in range(50):
            radius = thing.radius * rng.uniform(0.93, 1.07)
            x, y = np.clip(
                np.array([thing.x, thing.y]) + rng.uniform(-step, step, 2), radius + 0.02, 0.98 - radius
            )
            if all(np.hypot(t.x - x, t.y - y) > t.radius + radius + 0.01 for t in things):
                break
        things.append(Thing(thing.color, thing.shape, float(x), float(y), float(radius)))
    return Scene(things, *random_background(rng))


def draw(scene: Scene, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Image ``[height, width, 3]`` uint8 RGB and the visible masks ``[N, height, width]`` bool."""
    image = Image.fromarray(_background(scene, width, height))
    owner = Image.new('L', (width, height), 0)
    for number, thing in enumerate(scene.things, start=1):
        _draw_thing(ImageDraw.Draw(image), thing, width, height, COLORS[thing.color])
        _draw_thing(ImageDraw.Draw(owner), thing, width, height, number)
    owners = np.asarray(owner)
    masks = np.stack([owners == number for number in range(1, len(scene.things) + 1)])
    return np.asarray(image), masks


def _background(scene: Scene, width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(scene.texture_seed)
    y, x = np.mgrid[0:height, 0:width]
    pattern = {
        'plain': np.zeros((height, width)),
        'noise': rng.normal(0, 12, (height, width)),
        'stripes': 14 * np.sign(np.sin((x + y) * rng.uniform(0.1, 0.3))),
        'gradient': 30 * (x / width - 0.5) + 30 * (y / height - 0.5),
    }[scene.texture]
    return np.clip(np.array(scene.background) + pattern[..., None], 0, 255).astype(np.uint8)


def _draw_thing(canvas: ImageDraw.ImageDraw, thing: Thing, width: int, height: int, fill) -> None:
    side = min(width, height)
    x, y, r = thing.x * width, thing.y * height, thing.radius * side
    if thing.shape == 'circle':
        canvas.ellipse([x - r, y - r, x + r, y + r], fill=fill)
    elif thing.shape == 'square':
        canvas.rectangle([x - 0.88 * r, y - 0.88 * r, x + 0.88 * r, y + 0.88 * r], fill=fill)
    elif thing.shape == 'triangle':
        canvas.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=fill)
    else:
        angles = np.pi * np.arange(10) / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2 == 0, 1.1 * r, 0.5 * r)
        points = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
        canvas.polygon([tuple(point) for point in points], fill=fill)
