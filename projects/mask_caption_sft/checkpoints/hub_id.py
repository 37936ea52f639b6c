"""Under which name a base is on the Hugging Face Hub, if its folder says so."""

import re
from pathlib import Path

_CACHED = re.compile(r'models--([^/]+?)--([^/]+)')


def hub_id(base: str | Path) -> str | None:
    """``'ByteDance/Sa2VA-4B'``, or None where nothing tells: a local path is no name for other people.

    Two things tell: the folder lies in the Hub's cache, whose folders are named after repositories; or its
    ``README.md`` speaks of a repository ``ORGANISATION/NAME`` that is called like the folder.
    """
    path = Path(base).resolve()
    for part in path.parts:
        if match := _CACHED.fullmatch(part):
            return f'{match[1]}/{match[2]}'
    readme = path / 'README.md'
    if not readme.is_file():
        return None
    named = re.findall(rf'(?<![\w./-])([\w.-]+/{re.escape(path.name)})(?![\w/.-]*[\w/])', readme.read_text())
    return named[0] if named else None
