"""``{dataset}_scenes.json``: what is true of every thing that was drawn, beside a dataset of the tiny world.

::

    {"sa_000000": [{"size": "small", "color": "red", "shape": "star", "place": "top left", "x": 0.2, "y": 0.3,
                    "radius": 0.1}, ...], ...}

A key is the name of a record's file, without its ending; of a pair of frames the first one is described.
Centre and radius are shares of the image's sides.
"""

import json
from pathlib import Path

from .scene import KINDS, Scene, Thing


def scenes_path(folder: Path) -> Path:
    """Not in the dataset's folder, where other readers look for records."""
    return folder.with_name(f'{folder.name}_scenes.json')


def write_scenes(folder: Path, scenes: dict[str, Scene]) -> None:
    """Write the things of each record's scene beside a dataset's folder."""
    rows = {name: [_as_dict(thing) for thing in scene.things] for name, scene in scenes.items()}
    scenes_path(folder).write_text(json.dumps(rows, indent=0) + '\n')


def read_scenes(path: str | Path) -> dict[str, list[Thing]]:
    """The things of each record's scene.

    Raises:
        ValueError: The file is not of this kind.
        FileNotFoundError: It is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing. tools/make_tiny_world.py writes it beside its datasets.')
    try:
        rows = json.loads(path.read_text())
        keys = ('color', 'shape', 'x', 'y', 'radius')
        return {
            name: [Thing(*(thing[key] for key in keys)) for thing in things] for name, things in rows.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{path} is not a file of scenes from tools/make_tiny_world.py: {error!r}.'
        ) from error


def _as_dict(thing: Thing) -> dict[str, str | float]:
    words: dict[str, str | float] = {kind: getattr(thing, kind) for kind in KINDS}
    return words | {'x': thing.x, 'y': thing.y, 'radius': thing.radius}
