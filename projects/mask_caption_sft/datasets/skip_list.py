"""Records that are known to be broken and are left out."""

import json
from collections.abc import Iterable
from pathlib import Path

#: Below each dataset's root.
SKIP_LIST = 'skip_list.jsonl'


def read_skip_list(path: str | Path) -> set[str]:
    """Ids in a skip-list: one JSON object with ``sample_id`` and ``reason`` per line.

    Raises:
        ValueError: A line is anything else; the message names it.
    """
    ids = set()
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        try:
            ids.add(json.loads(line)['sample_id'])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number} is not an object with sample_id. Write the list again with '
                'tools/verify_datasets.py.'
            ) from error
    return ids


def write_skip_list(path: str | Path, broken: Iterable[tuple[str, str]]) -> None:
    """Write ``(sample_id, reason)`` pairs; the file appears only when it is complete."""
    path = Path(path)
    temporary = path.with_suffix('.tmp')
    with temporary.open('w') as file:
        for sample_id, reason in broken:
            file.write(json.dumps({'sample_id': sample_id, 'reason': reason}) + '\n')
    temporary.replace(path)
