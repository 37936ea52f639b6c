"""Opens the mask table of a dataset; one process makes it if it is missing or stale."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import print_log

from ..remote.path import RemotePath, path_of
from ..remote.published import take_published
from .build import build_table
from .listing import MAX_LOOKED_AT
from .lock import exclusive
from .mask_filter import MaskFilter
from .place import PARTS, TABLE, writable
from .schema import FORMAT_VERSION
from .selection import Selection, write_selection
from .source import TableSource

#: How long other processes let the first one begin.
_HEAD_START_SECONDS = 1.0


class MaskTable:
    """M masks of the records of a dataset.

    On disk::

        table.json              version, format, arguments, counts, files and folders with size and time,
                                records that could not be read
        parts/*.parquet         rows, see ``schema.SCHEMA``; named after the files they were read from
        selection-*.arrow       records with masks that pass a filter; made when first needed

    Raises:
        ValueError, OSError: There is no table, or ``table.json`` is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info: dict[str, Any] = json.loads((self.folder / TABLE).read_text())
        self.faults: list[tuple[str, str]] = [(name, reason) for name, reason in self.info.get('faults', [])]

    @property
    def parts(self) -> list[Path]:
        """The files that hold the rows, in order."""
        return [self.folder / PARTS / name for name in self.info['parts']]

    def changes(self, source: TableSource, look_at_all: bool = False) -> list[str]:
        """Why the table has to be made again, if it has to; of very many files a sample is looked at."""
        if self.info.get('version') != FORMAT_VERSION:
            return [f'the table has version {self.info.get("version")}, needed {FORMAT_VERSION}']
        if [self.info['format'], self.info['arguments']] != [source.KIND, source.arguments()]:
            return [f'the table was made with {self.info["arguments"]}']
        for path, size in zip(self.parts, self.info['parts'].values()):
            if not path.exists() or path.stat().st_size != size:
                return [f'{path.name} of the table is damaged']
        if look_at_all and self.info['listing']['count'] > MAX_LOOKED_AT:
            return ['all files are looked at']
        return source.changes(self.info['listing'])

    def select(
        self,
        columns: Sequence[str],
        mask_filter: MaskFilter | None = None,
        skipped: set[str] = frozenset(),  # type: ignore[assignment]
        limit: int | None = None,
        folders: Sequence[Path] = (),
        timeout: float = 600.0,
    ) -> Selection:
        """The records that may be drawn, see :func:`write_selection`; written once, and opened from then on.

        Args:
            columns, mask_filter, skipped, limit: See :func:`write_selection`.
            folders: Where to write if the table's own folder cannot be written to.
            timeout: Seconds to wait for another process that does.
        """
        made = [list(self.info['parts']), columns, repr(mask_filter), sorted(skipped), limit]
        name = f'selection-{hashlib.sha256(json.dumps(made).encode()).hexdigest()[:24]}.arrow'
        places = [self.folder, *folders]
        found = [folder / name for folder in places if (folder / name).exists()]
        if found:
            return Selection(found[0])
        folder = writable(places)
        with exclusive(folder, timeout, 'Start again once it has ended.'):
            if not (folder / name).exists():
                write_selection(folder / name, self.parts, columns, mask_filter, skipped, limit)
        return Selection(folder / name)


def find_table(source: TableSource, folders: Sequence[Path], look_at_all: bool = False) -> MaskTable | None:
    """The table of a source in one of these folders, if it is as the files are now; says why one is not."""
    for folder in folders:
        if not (folder / TABLE).exists():
            continue
        try:
            table = MaskTable(folder)
            changes = table.changes(source, look_at_all)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            changes = [f'{TABLE} is damaged: {error}']
        if not changes:
            return table
        more = f' and {len(changes) - 5} more' if len(changes) > 5 else ''
        print_log(
            f'{folder} is stale and is brought up to date: {"; ".join(changes[:5])}{more}.',
            'current',
            logging.WARNING,
        )
    return None


def open_table(
    source: TableSource,
    folders: Sequence[Path],
    timeout: float,
    mend: str = '',
    num_workers: int | None = None,
    look_at_all: bool = False,
) -> MaskTable:
    """The table of a source as its files are now.

    One process makes what is missing, rank 0 if it is among those that ask; the others wait.

    Args:
        source: What to read.
        folders: Where the table may be, see :func:`place.candidates`.
        timeout: Seconds to wait for another process.
        mend: Ends the message if that was not enough.
        num_workers: See :func:`build_table`.
        look_at_all: Look at every file; otherwise, of more than 20,000, at the folders and a sample.

    Raises:
        TimeoutError: Another process took too long.
        OSError: No folder can be written to.
        ValueError, FileNotFoundError: From the source.
    """
    table = find_table(source, folders, look_at_all)
    if table is not None:
        return table
    folder = writable(list(folders))
    if get_rank() > 0:
        time.sleep(_HEAD_START_SECONDS)
    with exclusive(folder, timeout, mend):
        # Another process may have made it in the meantime.
        table = find_table(source, [folder])
        root = path_of(source.root)
        if table is None and isinstance(root, RemotePath):
            take_published(root, folder)
            table = find_table(source, [folder])
        if table is None:
            build_table(source, folder, num_workers)
            table = MaskTable(folder)
    return table
