"""Whether a tiny world on disk is the one that this code would write."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
_NAME = 'world.json'
_BASES = ('base', 'base_qwen3_vl')


def write_stamp(out: Path, arguments: dict[str, Any]) -> None:
    """Say in ``{out}/world.json`` what wrote the world; the last thing to be written."""
    (out / _NAME).write_text(json.dumps(_stamp(arguments), indent=1))


def clear_stamp(out: Path) -> None:
    """Before anything is overwritten, so that half a world never has a stamp."""
    (out / _NAME).unlink(missing_ok=True)


def is_current(out: Path, arguments: dict[str, Any]) -> bool:
    """Whether the world in ``out`` is complete, and was written by this code, from these bases, with these
    arguments of :func:`write_world`."""
    path = out / _NAME
    return path.is_file() and path.read_text() == json.dumps(_stamp(arguments), indent=1)


def _stamp(arguments: dict[str, Any]) -> dict[str, Any]:
    digest = sha256()
    bases = [path for name in _BASES for path in (_PACKAGE / name).iterdir()]
    for path in sorted([*_PACKAGE.glob('*.py'), *bases]):
        name = str(path.relative_to(_PACKAGE)).encode()
        digest.update(name + b'\0' + sha256(path.read_bytes()).digest())
    return {'arguments': arguments, 'code_and_base': digest.hexdigest()}
