"""The config and its overrides, as every tool that takes a config takes them."""

import argparse
import sys

from mmengine.config import Config, DictAction

from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options


def add_config(parser: argparse.ArgumentParser) -> None:
    """``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', help='Python config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')


def read_config(args: argparse.Namespace) -> Config:
    """The config with its overrides; ends the program where one of them is refused."""
    config = Config.fromfile(args.config)
    try:
        apply_cfg_options(config, args.cfg_options)
    except ValueError as error:
        sys.exit(f'error: {error}')
    return config
