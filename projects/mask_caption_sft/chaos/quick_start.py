"""What makes the start of a forked run quick; nothing that trains is touched."""

import functools
import gc
import importlib
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import runner

#: What MMEngine imports only when a run begins, some seconds' worth.
_LATE = ('matplotlib.figure', 'matplotlib.backends.backend_agg', 'torch.utils.tensorboard')


def import_ahead(path: Path | None = None) -> None:
    """Import, in this process, what each forked run would import by itself.

    Args:
        path: The config that they read, with what it imports.
    """
    for name in _LATE:
        importlib.import_module(name)
    if path is not None:
        Config.fromfile(path)
    gc.freeze()  # or each run's first collection would look at, and so copy, all of it


def leave_out_ceremony() -> None:
    """Here and in forked runs: versions are asked for once."""
    runner.collect_env = functools.cache(runner.collect_env)
    runner.collect_env()
