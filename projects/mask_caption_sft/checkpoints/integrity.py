"""Whether a training checkpoint is whole."""

import re
import zipfile
from pathlib import Path
from typing import Any

from .training_file import read_checkpoint

#: Files that a run can go on from; ``best_*.pth`` hold no optimizer.
_NAME = re.compile(r'iter_(\d+)\.pth')
_NEEDED = ('meta', 'state_dict', 'optimizer', 'message_hub')


def resumable(folder: str | Path) -> list[Path]:
    """Checkpoints in a folder that a run can go on from, newest first."""
    found = [path for path in Path(folder).glob('*.pth') if iteration_of(path) is not None]
    return sorted(found, key=lambda path: (iteration_of(path), path), reverse=True)


def iteration_of(path: Path) -> int | None:
    """The iteration after which such a checkpoint was saved, by its name; None for another name."""
    match = _NAME.fullmatch(path.name)
    return None if match is None else int(match[1])


def check_whole(path: str | Path) -> None:
    """Raise ``ValueError`` unless a checkpoint is as it was written, and can be resumed.

    ``torch.save`` writes a zip archive that holds a CRC-32 of each tensor. ``torch.load`` does not look
    at them; here every byte of every tensor is read and compared. Against a file that was changed on purpose
    this is no protection: that :func:`read_checkpoint` takes tensors and plain values only, is.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file is cut, changed, or lacks a part.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist.')
    damaged = _first_damaged(path)
    if damaged is not None:
        raise ValueError(f'{path} is damaged ({damaged}).')
    content: dict[str, Any] = read_checkpoint(path)
    missing = [key for key in _NEEDED if key not in content]
    if missing:
        raise ValueError(
            f'{path} cannot be resumed: it has no {", ".join(missing)}. Use an iter_*.pth; '
            'best_*.pth hold no optimizer. To start a new run from its weights set load_from.'
        )


def _first_damaged(path: str | Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.testzip()
    except Exception as error:  # a damaged archive makes zipfile raise nearly anything
        return f'{type(error).__name__}: {error}'
    return None if entry is None else f'the checksum of {entry} is wrong'
