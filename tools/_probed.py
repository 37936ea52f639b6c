"""The models and datasets of the tools that probe a checkpoint word by word."""

import argparse
from pathlib import Path
from typing import Any

from _config import take_adapter
from mmengine.config import Config

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.datasets.mix import build_dataset
from projects.mask_caption_sft.engine.training_runner import SafeRunner
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT


def add_probe(parser: argparse.ArgumentParser, dataset: str) -> None:
    """``--words``, ``--dataset``, ``--max-images``, ``--seed`` and ``--out``."""
    parser.add_argument('--words', default='coco', help="'coco' (default), 'tiny', or a JSON file")
    parser.add_argument('--dataset', default=dataset, help='default %(default)s')
    parser.add_argument('--max-images', type=int, help='only the first so many')
    parser.add_argument('--seed', type=int, default=0, help='of the choice among wrong words')
    parser.add_argument('--out', type=Path, help='JSON file for the tables, and every word')


def check_probe(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exit with a message if a number is out of range."""
    if args.max_images is not None and args.max_images < 1:
        parser.error(f'--max-images {args.max_images} is less than 1.')
    if args.seed < 0:
        parser.error(f'--seed {args.seed} is less than 0.')


def dataset_to_probe(config: Config, name: str, every_expression: bool = False) -> RegionDataset:
    """One of the datasets that are tested, every draw of a record the same each time.

    Raises:
        ValueError: There is none of that name, or it does not yield every expression and should.
    """
    declared = (config.get('test_dataloader') or {}).get('dataset', {}).get('datasets', {})
    there = {
        key: entry
        for key, entry in declared.items()
        if entry and (entry.get('every_expression') or not every_expression)
    }
    if name not in there:
        which = ' that yields every expression (every_expression=True)' if every_expression else ''
        raise ValueError(
            f'{name!r} is no dataset of test_dataloader in {config.filename}{which}. '
            f'Set --dataset to one of: {", ".join(there) or "none"}.'
        )
    return build_dataset(name, {'seed': 0, **there[name]})


def load_model(config: Config, checkpoint: str) -> MaskCaptionSFT:
    """The model as tools/test.py evaluates it."""
    config.log_level = 'WARNING'
    allow_checkpoint_globals()
    runner = SafeRunner.from_cfg(config)
    runner.load_or_resume()
    take_adapter(runner, checkpoint)
    return runner.model.eval()


def settings_data(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments, for JSON."""
    return {key: value if isinstance(value, int | None) else str(value) for key, value in vars(args).items()}
