"""The config and its overrides, in the form in which every tool takes them."""

import argparse
import sys

from mmengine.config import Config, DictAction

from projects.mask_caption_sft.engine.base_sizes import follow_base
from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options


def add_config(parser: argparse.ArgumentParser) -> None:
    """``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', help='Python config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')


def read_config(args: argparse.Namespace, base: str | None = None) -> Config:
    """The config with its overrides and the sizes of its base; exits with a message if they are refused.

    Args:
        args: Arguments from a parser with :func:`add_config`.
        base: Replaces ``model.sa2va.base``.
    """
    config = Config.fromfile(args.config)
    try:
        apply_cfg_options(config, args.cfg_options)
        if base is not None:
            config.model['sa2va'].update(base=base)
        follow_base(config)
    except ValueError as error:
        sys.exit(f'error: {error}')
    return config
