"""Ways to damage a file, and the transforms that damaged datasets are read with."""

from pathlib import Path

from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView

PIPELINE = [
    ChooseRegions(4),
    SecondView(),
    PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero_bytes(path: Path) -> None:
    path.write_bytes(b'')
