"""The config and its overrides, in the form in which every tool takes them."""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config, DictAction

from projects.mask_caption_sft.engine.base_sizes import follow_base
from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options
from projects.mask_caption_sft.engine.launch import check_base_dtype


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
    # Formatted by yapf, its text takes seconds for a log and for every checkpoint.
    config = Config.fromfile(args.config, format_python_code=False)
    try:
        apply_cfg_options(config, args.cfg_options)
        if base is not None:
            config.model['sa2va'].update(base=base)
        follow_base(config)
    except ValueError as error:
        sys.exit(f'error: {error}')
    return config


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """``CHECKPOINT``, ``--teacher`` and ``--work-dir``, for :func:`read_tested_config`."""
    parser.add_argument('checkpoint', help='.pth of ours, or a directory in the released layout')
    parser.add_argument('--teacher', action='store_true', help='evaluate the teacher instead of the student')
    parser.add_argument('--work-dir', help='default work_dirs/{config name}')


def read_tested_config(args: argparse.Namespace) -> Config:
    """The config of a run that looks at a checkpoint and trains nothing; exits with a message if refused.

    Args:
        args: Arguments from a parser with :func:`add_config` and :func:`add_checkpoint`.
    """
    if not Path(args.checkpoint).exists():
        sys.exit(f'error: {args.checkpoint} does not exist.')
    is_released = Path(args.checkpoint).is_dir()
    config = read_config(args, base=args.checkpoint if is_released else None)
    config.work_dir = args.work_dir or f'work_dirs/{Path(args.config).stem}'
    if not is_released:
        config.load_from = args.checkpoint
    config.model.update(predict_with='teacher' if args.teacher else 'student')
    # Nothing is trained, so the training data need not exist; this hook would have them built.
    config.default_hooks.pop('early_stopping', None)
    try:
        check_base_dtype(config, trains=False)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    return config
