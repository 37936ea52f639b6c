"""Leaves out of a start what takes most of its time and is only text in the log."""

import functools

from mmengine.config import config
from mmengine.runner import runner


def leave_out_ceremony() -> None:
    """Here and in forked processes: the table of versions is made once, the config's text not laid out."""
    runner.collect_env = functools.cache(runner.collect_env)
    runner.collect_env()
    config.FormatCode = lambda text, **_: (text, True)
