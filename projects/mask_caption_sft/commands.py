"""The tools as commands of an installed checkout: ``mask-caption-sft-train`` is ``python tools/train.py``."""

import importlib
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
PREFIX = 'mask-caption-sft-'


def run_named_tool() -> None:
    """Run the tool after which this command is named; pyproject.toml lists them.

    The tools and the configs are files of the checkout, so it has to be installed with ``pip install -e``.
    """
    tool = Path(sys.argv[0]).stem.removeprefix(PREFIX).replace('-', '_')
    if not (TOOLS / f'{tool}.py').is_file():
        sys.exit(f'error: {TOOLS} holds no {tool}.py. Install the checkout itself: pip install -e .')
    sys.path.insert(0, str(TOOLS))  # as Python does for `python tools/train.py`
    importlib.import_module(tool).main()
