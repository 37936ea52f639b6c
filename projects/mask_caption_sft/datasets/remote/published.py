"""A mask table that lies beside the data in a bucket, so that not every machine makes it."""

import json
from pathlib import Path

from mmengine.logging import print_log

from ..index.place import INDEX_DIR, PARTS, TABLE
from .copies import copy_file, facts_of
from .path import RemotePath


def take_published(root: RemotePath, folder: Path) -> None:
    """Copy the table of a bucket, if there is one, into its folder on this machine.

    Whether it is as the files are now is judged afterwards, as of any table. Parts that are here stay.
    Whoever calls holds the folder's lock.

    Args:
        root: Of the dataset. Its tables are in ``.mask_index``, in folders that are named as here.
        folder: Where the table is on this machine.
    """
    published = root / INDEX_DIR / folder.name
    if not (published / TABLE).is_file():
        return
    print_log(f'Taking the table of masks from {published}.', 'current')
    parts: dict[str, int] = json.loads((published / TABLE).read_text())['parts']
    for name, size in parts.items():
        local = folder / PARTS / name
        if not (local.is_file() and local.stat().st_size == size):
            copy_file(published / PARTS / name, local, size)
    copy_file(published / TABLE, folder / TABLE, facts_of(published / TABLE)[0])
