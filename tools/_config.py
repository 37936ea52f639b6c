"""The config and its overrides, in the form in which every tool takes them."""

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from projects.mask_caption_sft.checkpoints.adapter import is_adapter, read_adapter
from projects.mask_caption_sft.checkpoints.source import trained_source
from projects.mask_caption_sft.datasets.layouts.recognise import KINDS
from projects.mask_caption_sft.datasets.shards import Shard
from projects.mask_caption_sft.engine.base_sizes import follow_base
from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options
from projects.mask_caption_sft.engine.failures import in_one_line
from projects.mask_caption_sft.engine.launch import check_base_dtype
from projects.mask_caption_sft.engine.own_data import OwnData, add_own_data
from projects.mask_caption_sft.ops.unwrapped import unwrapped
from projects.mask_caption_sft.sa2va.building import take_trained


def add_config(parser: argparse.ArgumentParser) -> None:
    """``CONFIG`` and ``--cfg-options``."""
    parser.add_argument('config', help='Python config file')
    parser.add_argument('--cfg-options', nargs='+', action=KeyValues, default={}, metavar='KEY=VALUE')


def add_data(parser: argparse.ArgumentParser) -> None:
    """``--data`` and what goes with it, for :func:`read_config`."""
    group = parser.add_argument_group('data of your own (docs/datasets.md)')
    group.add_argument(
        '--data', metavar='PATH', action='append',
        help='a folder of images and masks, or a COCO file, in the place of the datasets of the config; '
        'several: --data A --data B',
    )  # fmt: skip
    group.add_argument(
        '--layout', choices=sorted(KINDS), action='append',
        help='of --data, where more than one fits; once for all, or once for each',
    )  # fmt: skip
    group.add_argument(
        '--mix-share', type=float, default=OwnData.mix_share, metavar='SHARE',
        help='share of the draws that the datasets of the config keep; 0 (default) trains on --data alone',
    )  # fmt: skip
    group.add_argument(
        '--val-share', type=float, default=OwnData.val_share, metavar='SHARE',
        help='share of the images (or videos) of --data that are held out; default %(default)s',
    )  # fmt: skip
    group.add_argument(
        '--class-names', action='store_true', help='teach the names of classes as (weak) expressions'
    )


def add_shards(parser: argparse.ArgumentParser) -> None:
    """``--shard`` and ``--merge``."""
    group = parser.add_argument_group('several machines or shells')
    one = group.add_mutually_exclusive_group()
    one.add_argument(
        '--shard', type=read_shard, metavar='I/N', help='do part I of N; each can be started again'
    )
    one.add_argument(
        '--merge', type=int, metavar='N', help='put the N parts together, or say which are missing'
    )


def read_shard(text: str) -> Shard:
    """A value of ``--shard``; exits with a message."""
    try:
        return Shard.parse(text)
    except ValueError as error:
        sys.exit(f'error: {error}')


class KeyValues(DictAction):
    """MMEngine's ``DictAction``, which names what it cannot read."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Read KEY=VALUE, or exit with a message."""
        for given in values:
            if given.find('=') < 1:
                sys.exit(
                    f'error: --cfg-options {given!r} is not KEY=VALUE. Write it without spaces around "=".'
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as error:  # of brackets
            given = ' '.join(values)
            sys.exit(f'error: --cfg-options {given}: {error}. Close every bracket; quote the value.')


def read_config(args: argparse.Namespace, base: str | None = None) -> Config:
    """The config with its overrides and the sizes of its base; exits with a message if they are refused.

    Args:
        args: Arguments from a parser with :func:`add_config`, and maybe :func:`add_data`.
        base: Replaces ``model.sa2va.base``.
    """
    config = load_file(args.config)
    try:
        _add_own_data(config, args)
        apply_cfg_options(config, args.cfg_options)
        if base is not None:
            config.model['sa2va'].update(base=base)
        follow_base(config)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    return config


def _add_own_data(config: Config, args: argparse.Namespace) -> None:
    options = ('mix_share', 'val_share', 'class_names')
    given = {name: getattr(args, name) for name in options if hasattr(args, name)}
    layouts = tuple(getattr(args, 'layout', None) or ())
    if getattr(args, 'data', None):
        said = add_own_data(config, OwnData(tuple(args.data), layouts, **given))
        if os.environ.get('RANK', '0') == '0':
            print(*(f'--data {line}' for line in said), sep='\n', file=sys.stderr)
        return
    useless = ['layout'] if layouts else []
    useless += [name for name, value in given.items() if value != getattr(OwnData, name)]
    if useless:
        raise ValueError(f'--{useless[0].replace("_", "-")} changes nothing without --data.')


def load_file(path: str) -> Config:
    """The config in a file; exits with a message if it cannot be read."""
    if not Path(path).is_file():
        folders = [Path(path).parent, Path('configs')]
        there = [str(found) for folder in folders if folder.is_dir() for found in folder.glob('*.py')]
        near = difflib.get_close_matches(path, there, n=1, cutoff=0.4)
        hint = f'Did you mean {near[0]}?' if near else 'Give the path of a config file, configs/... for one.'
        sys.exit(f'error: config {path} {"is a folder" if Path(path).is_dir() else "does not exist"}. {hint}')
    try:
        # Formatted by yapf, its text takes seconds for a log and for every checkpoint.
        return Config.fromfile(path, format_python_code=False)
    except Exception as error:  # a config is code: anything may go wrong in it
        sys.exit(f'error: {in_one_line(error, f"Reading {path}")}. Correct the config.')


def chosen_names(given: Sequence[str] | None, names: Iterable[str], what: str = '--only') -> list[str]:
    """The names that were asked for, or all of them; exits with a message for one that there is not."""
    there = list(names)
    for name in given or ():
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1, cutoff=0.0)
            hint = f'Did you mean {near[0]}? ' if near else ''
            sys.exit(f'error: {what} {name} names no dataset. {hint}There are: {", ".join(there) or "none"}.')
    return list(given or there)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """``CHECKPOINT``, ``--teacher`` and ``--work-dir``, for :func:`read_tested_config`."""
    parser.add_argument('checkpoint', help='.pth of ours, a directory in the released layout, or an adapter')
    parser.add_argument('--base', help='the base of an adapter, if it names no directory here')
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
    base = args.checkpoint if is_released else None
    if is_adapter(args.checkpoint):
        if args.teacher:
            sys.exit(f'error: {args.checkpoint} is an adapter, which holds one model. Leave out --teacher.')
        try:
            base = read_adapter(args.checkpoint).find_base(args.base)
        except (OSError, ValueError) as error:
            sys.exit(f'error: {error}')
    config = read_config(args, base=base)
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


def take_adapter(runner: Any, checkpoint: str) -> None:
    """Give the student of a built run what an adapter holds, if ``checkpoint`` is one."""
    student = unwrapped(runner.model).student
    if is_adapter(checkpoint):
        take_trained(student, trained_source(checkpoint, student.base), checkpoint)
