"""Import me first: makes ``projects`` and ``configs`` importable from any directory, in a Python that has
what they need."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
#: A few of requirements.txt; where these are, the others are.
NEEDED = ('torch', 'transformers', 'peft', 'mmengine', 'mmcv')


def check_environment() -> None:
    """Exit with a message in a Python that is too old, or in which nothing is installed."""
    mend = (
        'Run `bash tools/setup_env.sh && source .venv/bin/activate`, or `pip install -r requirements.txt` in '
        'a Python of 3.11 or later.'
    )
    if sys.version_info < (3, 11):  # noqa: UP036  # it is here that an older one is met
        sys.exit(f'error: {sys.executable} is Python {sys.version.split()[0]}. {mend}')
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f'error: {sys.executable} lacks {", ".join(missing)}. {mend}')


check_environment()
