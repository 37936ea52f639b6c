"""Where a mask table is kept."""

import hashlib
import os
from pathlib import Path

#: Folder of the tables, below each dataset's root.
INDEX_DIR = '.mask_index'
#: What a table's folder holds.
TABLE, PARTS = 'table.json', 'parts'
#: Names the folder of tables whose root cannot be written to.
CACHE_VARIABLE = 'MASK_CAPTION_SFT_CACHE'


def cache_dir() -> Path:
    """``$MASK_CAPTION_SFT_CACHE``, or a folder of our own in the user's cache."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mask_caption_sft'


def candidates(root: object, index_dir: str | None, name: str) -> list[Path]:
    """Folders in which a table may be, the preferred one first.

    Args:
        root: Of the dataset. The table of one in a bucket is in the cache.
        index_dir: The user's choice, below the root or absolute; None takes ``INDEX_DIR``, and the cache
            if that cannot be written to.
        name: Of the table.

    Raises:
        ValueError: ``index_dir`` is below a root that is in a bucket.
    """
    is_remote = '://' in str(root)
    if index_dir is not None and (os.path.isabs(index_dir) or not is_remote):
        return [Path(str(root)) / index_dir / name]
    if index_dir is not None:
        raise ValueError(
            f'index_dir={index_dir!r} would be below {root}, where no table is written. Give an absolute '
            'folder of this machine, or leave it out.'
        )
    real = Path(str(root)) if is_remote else Path(os.path.realpath(str(root)))
    below = f'{real.name}-{hashlib.sha256(str(real).encode()).hexdigest()[:12]}'
    cached = cache_dir() / 'mask_index' / below / name
    return [cached] if is_remote else [Path(str(root)) / INDEX_DIR / name, cached]


def writable(folders: list[Path]) -> Path:
    """The first of these folders that can be written to; it is made.

    Raises:
        OSError: None can be.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f'.{os.getpid()}.tmp'
            probe.touch()
            probe.unlink()
        except OSError as error:
            last = error
        else:
            return folder
    listed = ' or '.join(map(str, folders))
    raise OSError(
        last.errno,
        f'the table of masks cannot be written to {listed} ({last}). Set index_dir of the dataset to a '
        f'folder that can be written to, or {CACHE_VARIABLE} in the environment.',
    ) from last
