"""Runs the validation of a config on a checkpoint.

    python tools/test.py configs/mask_caption_sft_tiny.py work_dirs/quickstart/iter_200.pth
    python tools/test.py configs/mask_caption_sft_4b.py pretrained/Sa2VA-4B
    python tools/test.py configs/mask_caption_sft_4b_official.py pretrained/Sa2VA-4B

The last gives the figures that papers report; its docstring says what is official in them.
CHECKPOINT is a checkpoint of ours or a directory in the released layout.
"""

import _root  # noqa: F401
import argparse
import sys
from pathlib import Path

from _config import add_config, read_config

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.engine.launch import check_base_dtype, prepare_distributed
from projects.mask_caption_sft.engine.training_runner import SafeRunner


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    parser.add_argument('checkpoint', help='.pth of ours, or a directory in the released layout')
    parser.add_argument('--teacher', action='store_true', help='evaluate the teacher instead of the student')
    parser.add_argument('--work-dir', help='default work_dirs/{config name}')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if not Path(args.checkpoint).exists():
        sys.exit(f'error: {args.checkpoint} does not exist.')
    is_released = Path(args.checkpoint).is_dir()
    config = read_config(args, base=args.checkpoint if is_released else None)
    config.launcher = args.launcher
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
    allow_checkpoint_globals()
    prepare_distributed(config)
    SafeRunner.from_cfg(config).test()


if __name__ == '__main__':
    main()
