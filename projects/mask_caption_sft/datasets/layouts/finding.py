"""What a layout needs, and what of it a folder has."""

from dataclasses import dataclass, field
from typing import Any

#: Endings of image files, in any case.
PICTURES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.tif', '.tiff')
#: Names of folders and files, in any case, that tell training from validation.
TRAIN_NAMES, VAL_NAMES = ('train', 'training'), ('val', 'valid', 'validation')


@dataclass
class Finding:
    """How well a folder fits a layout.

    Attributes:
        layout: Name of the layout, as ``--layout`` takes it.
        expected: What it looks like, in a line.
        found: What of it was found, in a few words each.
        missing: What was not.
        arguments: Of the dataset; its root is the folder.
        val_arguments: Of the validation, if the folder has a part for it; otherwise a share is held out.
        is_special: The layout of one data set, which wins over the general ones.
    """

    layout: str
    expected: str
    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    val_arguments: dict[str, Any] | None = None
    is_special: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def number_of(count: int, what: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f'{count:,} {what}{"" if count == 1 else "s"}'
