"""Runs the validation of a config on a checkpoint.

    python tools/test.py configs/mask_caption_sft_tiny.py work_dirs/quickstart/iter_400.pth
    python tools/test.py configs/mask_caption_sft_4b.py pretrained/Sa2VA-4B
    python tools/test.py configs/mask_caption_sft_4b_official.py pretrained/Sa2VA-4B

The last gives the figures that papers report; its docstring says what is official in them.
CHECKPOINT is a checkpoint of ours, a directory in the released layout, or an adapter.
"""

import _root  # noqa: F401
import argparse

from _config import add_checkpoint, add_config, read_tested_config, take_adapter

from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.engine.launch import prepare_distributed
from projects.mask_caption_sft.engine.training_runner import SafeRunner
from projects.mask_caption_sft.hooks.progress_bar_hook import ProgressBarHook


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_checkpoint(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = read_tested_config(args)
    config.launcher = args.launcher
    allow_checkpoint_globals()
    prepare_distributed(config)
    runner = SafeRunner.from_cfg(config)
    take_adapter(runner, args.checkpoint)
    runner.register_hook(ProgressBarHook())
    runner.test()


if __name__ == '__main__':
    main()
