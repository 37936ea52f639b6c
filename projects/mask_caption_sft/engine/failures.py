"""An exception in one line, for a person who has made a mistake in a config."""

import traceback
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]


def in_one_line(error: BaseException, doing: str) -> str:
    """What failed, why, and in which of our lines.

    Messages of this module's own errors say what to do, and stay as they are but for their line breaks.

    Args:
        error: As it was caught.
        doing: ``'Building the model'``, for example.
    """
    said = ' '.join(str(error).split()) or 'no message'
    if len(said) > 600:
        said = f'{said[:600]} ...'
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    place = f' ({_short(frames[-1].filename)}, line {frames[-1].lineno})' if frames else ''
    return f'{doing} failed: {type(error).__name__}: {said}{place}'


def _is_ours(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_ROOT) and 'site-packages' not in path.parts


def _short(filename: str) -> str:
    return str(Path(filename).relative_to(_ROOT))
