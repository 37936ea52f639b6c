"""Trains what a config declares.

    python tools/train.py configs/mask_caption_sft_tiny.py
    python tools/train.py configs/mask_caption_sft_tiny.py --dry-run
    python tools/train.py configs/mask_caption_sft_tiny.py --diff configs/mask_caption_sft_tiny_selection.py
    bash tools/dist_train.sh configs/mask_caption_sft_4b.py 8

--dry-run checks everything and does once what the run will do: an update, a short validation, a checkpoint.
"""

import _root  # noqa: F401
import argparse
import sys
import traceback
from pathlib import Path

import torch
from _config import add_config, add_data, read_config
from mmengine.config import Config

from projects.mask_caption_sft.ops.unwrapped import unwrapped
from projects.mask_caption_sft.checkpoints.integrity import resumable
from projects.mask_caption_sft.checkpoints.training_file import allow_checkpoint_globals
from projects.mask_caption_sft.engine.console import LogText
from projects.mask_caption_sft.engine.context import context_problems
from projects.mask_caption_sft.engine.ended import RunEndedError, end_for_good
from projects.mask_caption_sft.engine.guarded_step import GuardedAmpOptimWrapper
from projects.mask_caption_sft.engine.failures import in_one_line
from projects.mask_caption_sft.engine.flat_config import config_diff, print_config
from projects.mask_caption_sft.engine.launch import prepare_distributed
from projects.mask_caption_sft.engine.settings import config_problems
from projects.mask_caption_sft.engine.start_plan import StartRefusedError
from projects.mask_caption_sft.engine.training_runner import TrainingRunner, checkpoint_dir
from projects.mask_caption_sft.engine.work_dir import writable
from projects.mask_caption_sft.hooks.cost_report_hook import CostReportHook, out_of_memory_advice
from projects.mask_caption_sft.hooks.progress_bar_hook import ProgressBarHook
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_data(parser)
    parser.add_argument('--work-dir', help='logs and checkpoints; default work_dirs/{config name}')
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='PATH',
        help='continue from PATH (a checkpoint or the folder of a run), or in the work dir',
    )  # fmt: skip
    parser.add_argument('--start-over', action='store_true', help="move the work dir's checkpoints aside")
    parser.add_argument('--amp', action='store_true', help='bf16 autocast')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--dry-run', action='store_true', help='do everything once, then stop; saves nothing')
    parser.add_argument(
        '--print-config', action='store_true', help='print every setting, KEY=VALUE, and stop'
    )
    parser.add_argument('--diff', metavar='CONFIG', help='print what CONFIG sets otherwise, and stop')
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    """The config with the command line's settings applied."""
    config = read_config(args)
    config.launcher = args.launcher
    resumed = args.resume if args.resume and Path(args.resume).is_dir() else None
    if resumed and not resumable(checkpoint_dir(config, resumed)):  # it is no work dir: leave it as it is
        sys.exit(f'error: {resumed} holds no checkpoint to resume (iter_*.pth). Is the path right?')
    config.work_dir = (
        args.work_dir or resumed or config.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    )
    config.start_over = args.start_over
    if args.amp:
        amp = GuardedAmpOptimWrapper.__name__
        config.optim_wrapper.update(type=amp, dtype='bfloat16', loss_scale=1.0)
    if args.resume:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    return config


def main() -> None:
    args = parse_args()
    if args.diff:
        other = read_config(argparse.Namespace(config=args.diff, cfg_options={}))
        print(config_diff(read_config(args), other))
        return
    config = load_config(args)
    if args.print_config:
        print(print_config(config))
        return
    allow_checkpoint_globals()
    if not args.dry_run and (problems := config_problems(config)):
        sys.exit('\n'.join(f'error: {problem}' for problem in problems))
    try:
        prepare_distributed(config)
    except ValueError as error:
        sys.exit(f'error: {error}')
    if args.dry_run:
        from projects.mask_caption_sft.preflight.preflight import preflight

        sys.exit(preflight(config))
    train(config)


def train(config: Config) -> None:
    """Build and run; exits with a message where something cannot be built or memory does not suffice."""
    try:
        with writable(config.work_dir):
            runner = TrainingRunner.from_cfg(config)
            # What it will ask for first, here: a data folder that is missing needs no traceback.
            runner.build_loops()
    except StartRefusedError as error:
        end_for_good(error)
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f'error: {in_one_line(error, "Starting the run")}. --dry-run checks every part.')
    model = unwrapped(runner.model)
    if isinstance(model, MaskCaptionSFT) and (problems := context_problems(config, model.student)):
        sys.exit(f'error: {problems[0]}')
    if torch.cuda.is_available():  # what it says is of a GPU, and takes longer than the steps of a small run
        runner.register_hook(CostReportHook())
    runner.register_hook(ProgressBarHook())
    try:
        runner.train()
    except RunEndedError as error:
        end_for_good(error)
    except (torch.OutOfMemoryError, torch.cuda.OutOfMemoryError) as error:
        sys.exit(f'error: {out_of_memory_advice(runner, error)}')
    except Exception as error:
        if runner.has_trained:  # not a mistake in the settings: its place is what matters
            raise
        said = in_one_line(error, 'The first iteration')
        runner.logger.error(LogText(traceback.format_exc(), printed='The traceback is in the log file.'))
        sys.exit(f'error: {said}. --dry-run checks every part.')


if __name__ == '__main__':
    main()
