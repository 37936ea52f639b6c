"""Measures a training step against the same step written plainly.

    OMP_NUM_THREADS=1 python tools/benchmark.py --size small --pairs 3 --json benchmark.json

The plain step (benchmarking/plain_step.py) has a full copy of the teacher, runs every encoder and every
prompt again in every pass, one region at a time, and writes captions one by one; losses and gradients agree.
Both run in this process in turns (plain, ours, plain, ours, ...) on the same random weights and batch; the
ratio of times is the median of the pairs' ratios. Before that each runs once to be counted.

- A step is the losses and their backward pass, dropout and recomputation included; no update, and no
  iteration in which the cheat signals are read. Every region's best caption is taught, every gate is open.
- Random weights never end a caption, so they may write whole words only: every caption has T tokens.
- FLOPs are counted by operation (torch.utils.flop_counter); attention counts in full, causal or not. F is
  the language model's work on one describe prompt.
- Processor seconds are what this process computed, so that other work on the machine counts less.
- In the plain step every layer of the language model runs again in the backward pass. In ours the share that
  --checkpointing says does: by default as few as keep it below 0.6 of the plain step's memory.
- Memory is all weights that the step needs, and the most it holds beside them: on a GPU as CUDA's allocator
  measured it in the timed steps, on a CPU the bytes of tensors alive at one time in the counted step,
  without what single kernels need and without what the process's allocator has not given back.
- Sizes: `tiny` is the tiny world's; `small` has some 50 million weights over real inputs; `4b` is
  Sa2VA-4B's shape and needs a GPU.
"""

import _root  # noqa: F401
import argparse
import json
import platform
import sys
from pathlib import Path

import torch

from projects.mask_caption_sft.benchmarking.compare import compare_steps, matmul_rate
from projects.mask_caption_sft.benchmarking.report import as_data, comparison_table, parts_table, time_table
from projects.mask_caption_sft.benchmarking.sizes import LAYERS_AGAIN, SIZES, random_batch, random_model
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.structures import RegionBatch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', choices=SIZES, default='small')
    parser.add_argument('--pairs', type=int, default=3, help='timed steps of each kind')
    parser.add_argument(
        '--images', type=int, default=2, help='whose regions are described, each in two views'
    )
    parser.add_argument('--regions', type=int, default=1, help='described regions per image')
    parser.add_argument('--tiles', type=int, nargs='+', default=[7], help='per image, thumbnail included')
    parser.add_argument('--expressions', type=int, default=0, help='further images with a human expression')
    parser.add_argument('--captions', type=int, default=4, help='K')
    parser.add_argument('--caption-len', type=int, default=32, help='T')
    parser.add_argument(
        '--dtype', choices=('float32', 'bfloat16'), help="of frozen weights; the GPU's default is bfloat16"
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--checkpointing',
        type=float,
        metavar='SHARE',
        help='model.sa2va.activation_checkpointing of our step',
    )
    parser.add_argument('--merge-to-write', action='store_true', help='model.sa2va.merge_to_write')
    parser.add_argument('--json', type=Path, help='file for all figures')
    args = parser.parse_args()
    if args.size == '4b' and torch.device(args.device).type != 'cuda':
        parser.error(
            f'--size 4b needs a GPU, and the device is {args.device}. Run it where torch finds a GPU, or use '
            '--size small.'
        )
    for name in ('pairs', 'images', 'regions', 'captions', 'caption_len'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} {getattr(args, name)} is less than 1.')
    if args.checkpointing is None:
        args.checkpointing = LAYERS_AGAIN[args.size]
    args.dtype = args.dtype or ('float32' if args.device == 'cpu' else 'bfloat16')
    return args


def conditions(args: argparse.Namespace, model: MaskCaptionSFT, batch: RegionBatch) -> str:
    """What was measured, and where."""
    device, weights = model.student.device, sum(p.numel() for p in model.student.parameters())
    machine = torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.machine()
    return (
        f'{args.size}: {weights / 1e6:.0f} million weights, the frozen ones in {args.dtype}; {len(batch)} '
        f'regions in images of {batch.num_tiles} tiles, K = {args.captions}, T = {args.caption_len}; '
        f'checkpointing {args.checkpointing:g}, {"" if args.merge_to_write else "not "}merged to write; '
        f'{args.pairs} pairs. {machine}, {torch.get_num_threads()} thread(s), torch {torch.__version__}'
    )


def main() -> None:
    args = parse_args()
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    model = random_model(
        args.size, args.captions, args.caption_len, dtype, device,
        activation_checkpointing=args.checkpointing, merge_to_write=args.merge_to_write,
    )  # fmt: skip
    batch = random_batch(model, args.images, args.regions, args.tiles, args.expressions)
    rate = matmul_rate(device, dtype)
    costs = compare_steps(
        model, batch, args.pairs, note=lambda text: print(text, file=sys.stderr, flush=True)
    )
    print(f'{conditions(args, model, batch)}; a large product reaches {rate / 1e12:.3g} TFLOP/s. '
          f'F = {costs["ours"].census.prompt_flops / 1e12:.3g} TFLOP.\n')  # fmt: skip
    print(comparison_table(costs, rate))
    for kind, step in costs.items():
        print(f'\nThe {kind} step, part by part:\n\n{parts_table(step.census)}\n\n{time_table(step)}')
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items()}
        args.json.write_text(json.dumps({'settings': settings, **as_data(costs, rate)}, indent=2) + '\n')


if __name__ == '__main__':
    main()
