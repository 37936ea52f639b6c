"""Which checkpoints can be trained, as the configs name them; the table in README."""

from pathlib import Path

from mmengine.config import Config

from ..backbones import backbone_of
from ..grounding import grounding_kind_of
from ..ops.markdown import markdown_table
from ..sa2va.released_sizes import NAMES, released_config


def support_table(folder: str | Path = 'configs') -> str:
    """Markdown, a row for each released checkpoint that a config in the folder trains.

    Of several configs the one with the shortest name is the plain one.
    """
    plain: dict[str, Path] = {}
    for path in sorted(Path(folder).glob('*.py'), key=lambda path: (len(path.name), path.name)):
        base = Config.fromfile(path).model.sa2va.get('base')
        if base is not None and Path(base).name in NAMES:
            plain.setdefault(Path(base).name, path)
    heads = ('checkpoint', 'backbone', 'vision encoder', 'masks', 'prompt', 'config')
    return markdown_table(heads, [_row(name, plain[name]) for name in NAMES if name in plain])


def _row(name: str, path: Path) -> list[str]:
    config = released_config(name)
    vision = config['vision_config']
    encoder = 'its own, images whole' if 'text_config' in config else 'InternViT'
    layers = vision.get('num_hidden_layers', vision.get('depth'))
    return [
        name,
        backbone_of(config).family,
        f'{encoder}, {layers} layers x {vision["hidden_size"]}',
        grounding_kind_of(config).name,
        f'`{config["template"]}`',
        f'`{path.as_posix()}`',
    ]


if __name__ == '__main__':
    print(support_table())
