"""Records that are known to be broken and are left out."""

import json
from collections.abc import Iterable
from pathlib import Path

from .remote.path import AnyPath, path_of

#: Below each dataset's root.
SKIP_LIST = 'skip_list.jsonl'


def read_skip_list(path: str | AnyPath) -> set[str]:
    """Ids in a skip-list, see :func:`read_skip_list_reasons`."""
    return {sample_id for sample_id, _ in read_skip_list_reasons(path)}


def read_skip_list_reasons(path: str | AnyPath) -> list[tuple[str, str]]:
    """``(sample_id, reason)`` of a skip-list: one JSON object with both per line; the reason may be missing.

    Raises:
        ValueError: A line is anything else; the message names it.
    """
    pairs = []
    for number, line in enumerate(path_of(path).read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            pairs.append((entry['sample_id'], entry.get('reason', '')))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{path}, line {number} is not an object with sample_id. Write the list again with '
                'tools/verify_datasets.py.'
            ) from error
    return pairs


def write_skip_list(path: str | Path, broken: Iterable[tuple[str, str]]) -> None:
    """Write ``(sample_id, reason)`` pairs; the file appears only when it is complete."""
    path = Path(path)
    temporary = path.with_suffix('.tmp')
    with temporary.open('w') as file:
        for sample_id, reason in broken:
            file.write(json.dumps({'sample_id': sample_id, 'reason': reason}) + '\n')
    temporary.replace(path)
