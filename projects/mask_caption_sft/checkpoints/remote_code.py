"""The Python that a released checkpoint brings along, and which of upstream's scripts run it.

Upstream has two repositories, v1 (``projects/llava_sam2``) and v2 (``projects/sa2va``). The evaluation of v2
gives ``predict_forward`` a ``processor``, which the code of v1's checkpoints does not take.
"""

import ast
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

_USUAL = 'modeling_sa2va_chat.py'


def check_code(files: Sequence[str | Path]) -> list[Path]:
    """The files as paths.

    Raises:
        FileNotFoundError: One does not exist.
        ValueError: One is no Python file, or does not parse; or two have the same name.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f'--code {path} does not exist, or is a folder. Name a file of Python.')
        if path.suffix != '.py':
            raise ValueError(f'--code {path} is not a file of Python (*.py).')
        _parse(path)
    names = [path.name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'--code names {", ".join(twice)} twice. A folder holds one file of a name.')
    return paths


def add_code(files: Sequence[Path], folder: Path) -> None:
    """Put files beside the weights; one that has the name of the base's replaces it."""
    for path in files:
        shutil.copyfile(path, folder / path.name)


def evaluation_note(folder: str | Path) -> str | None:
    """What to know before an export goes into upstream's scripts, in one line; None if they all run it.

    Args:
        folder: In the released layout. Without ``auto_map`` in its config it brings no code along.
    """
    folder = Path(folder)
    auto_map = json.loads((folder / 'config.json').read_text()).get('auto_map') or {}
    if not auto_map:
        return None
    path = folder / (auto_map.get('AutoModel', _USUAL).split('--')[-1].split('.')[0] + '.py')
    if not path.is_file():
        return (
            f"note: config.json names {path.name} as the model's code, and the base has none; --code adds it."
        )
    if _takes_processor(path):
        return None
    return (
        f"note: {path.name} is upstream's v1 code. Its v1 scripts run it; v2's end with TypeError: ... "
        f"'processor'. For those name v2's: --code SA2VA/projects/sa2va/hf/models/{path.name}"
    )


def _takes_processor(path: Path) -> bool:
    """Whether ``predict_forward`` can be given a ``processor``; True where there is no such function."""
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.FunctionDef) and node.name == 'predict_forward':
            arguments = node.args
            names = {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}
            return 'processor' in names or arguments.kwarg is not None
    return True


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text())
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'{path} is not Python that can be read ({error}).') from error
