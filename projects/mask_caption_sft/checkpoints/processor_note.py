"""Whether upstream's evaluation scripts will load the processor that an export needs."""

from pathlib import Path

from ..backbones import backbone_of
from .config import read_config


def processor_note(folder: str | Path) -> str | None:
    """What to know before an export goes into upstream's v2 scripts, in one line; None if nothing.

    They load a processor only where the path that they are given contains "qwen", in any letters.

    Args:
        folder: In the released layout.
    """
    backbone = backbone_of(read_config(folder))
    if backbone.image_cut != 'cells' or 'qwen' in str(folder).lower():
        return None
    return (
        f"note: upstream's v2 scripts load the processor that {backbone.family} needs only where the "
        f'path of the model contains "qwen"; {folder} does not. Rename it, {folder}_qwen for one.'
    )
