"""Estimates what a run needs, without a GPU, without weights and without data.

    python tools/estimate_cost.py configs/mask_caption_sft_4b.py --gpus 8 --memory 80 --epoch-len 1862485

The loop itself runs on tensors that have shapes and no values, with two of the language model's layers, of
which one stands for all others; so every pass, forward and backward, with and without gradient, is counted.

- Memory: weights, gradients, moments and the most that a step holds at one time beside them, in an iteration
  in which the cheat signals are read. Not counted: what CUDA itself takes, workspaces of single kernels and
  the allocator's waste. For these a tenth of the card is left.
- FLOPs: a multiplication and an addition are two; recomputation counts; attention counts as if every token
  saw every other. Captions count with their longest length, images with all their tiles: a run on smaller
  images takes less.
- Hours: FLOPs over the card's peak rate times the utilisation. 989 TFLOP/s is an H100's for dense bfloat16
  (A100: 312). Training a large language model usually reaches 0.3 to 0.5 of it; here captions are written
  token by token, which does little work per byte read, so 0.25 is assumed. It has not been measured.
- Iterations: from train_cfg.max_iters, from the data where they are, or from --epoch-len.

Words are counted with the tiny world's tokenizer.
"""

import _root  # noqa: F401
import argparse
import math
import sys

from _config import add_config, read_config

from projects.mask_caption_sft.estimating import report
from projects.mask_caption_sft.estimating.estimate import GIB, Estimate
from projects.mask_caption_sft.estimating.iterations import count_iterations


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    parser.add_argument('--gpus', type=int, default=1)
    parser.add_argument('--memory', type=float, help='of a card in GiB, 80, 48, 40 or 24 for example')
    parser.add_argument('--peak-tflops', type=float, default=989, help="the card's rate; default %(default)s")
    parser.add_argument('--utilisation', type=float, default=0.25, help='share of it; default %(default)s')
    parser.add_argument('--epoch-len', type=int, help='pairs of views in an epoch, where there are no data')
    args = parser.parse_args()
    if not 0 < args.utilisation <= 1 or args.peak_tflops <= 0 or args.gpus < 1:
        parser.error('--utilisation is a share in (0, 1], --peak-tflops and --gpus are positive.')
    if args.memory is not None and not 0 < args.memory < math.inf:
        parser.error(f'--memory {args.memory:g} is not a number of GiB above 0. Give that of one card.')
    if args.epoch_len is not None and args.epoch_len < 1:
        parser.error(f'--epoch-len {args.epoch_len} is less than 1. Give the pairs of views of an epoch.')
    return args


def main() -> None:
    args = parse_args()
    config = read_config(args)
    try:
        estimate = Estimate(config, args.gpus)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    cost = estimate.cost()
    iterations, why_unknown = count_iterations(config, args.gpus, args.epoch_len)
    print(report.memory_line(estimate, cost))
    print(report.iterations_line(iterations, estimate, why_unknown))
    print(report.hours_line(iterations, cost, args.peak_tflops * report.TERA, args.utilisation))
    print(f'disk: {estimate.checkpoint_bytes / GIB:.2f} GiB per checkpoint')
    for table in (report.parameters_table(estimate), report.memory_table(cost), report.flops_table(cost)):
        print(f'\n{table}', flush=True)
    if args.memory is not None:
        print(f'\n{report.fitting_table(estimate, args.memory)}')


if __name__ == '__main__':
    main()
