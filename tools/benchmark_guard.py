"""Measures what it costs that no update is made of NaN and no checkpoint is damaged unseen.

    python tools/benchmark_guard.py --updates 30 --saves 100

The guard is timed within updates of the tiny size (tools/benchmark.py), the checksums as the difference
between saves with and without them. Processor time of one thread on a CPU; what ranks exchange is not in it.
"""

import _root  # noqa: F401
import argparse
import platform
import tempfile
from pathlib import Path

import torch

from projects.mask_caption_sft.benchmarking.guard_cost import guard_cost
from projects.mask_caption_sft.benchmarking.sizes import random_batch, random_model

_MEMORY = Path('/dev/shm')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--updates', type=int, default=30, help='timed updates')
    parser.add_argument('--saves', type=int, default=100, help='timed saves of each kind')
    parser.add_argument('--images', type=int, default=2, help='whose regions are described, in two views')
    parser.add_argument('--caption-len', type=int, default=16, help='tokens of each of four captions')
    args = parser.parse_args()
    for name in ('updates', 'saves', 'images', 'caption_len'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} {getattr(args, name)} is less than 1.')
    return args


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    model = random_model('tiny', max_caption_len=args.caption_len)
    batch = random_batch(model, args.images, num_tiles=[1])
    trained = sum(p.requires_grad for p in model.parameters())
    print(f'{trained} trained tensors, {len(batch)} regions, captions of {args.caption_len} tokens; '
          f'medians of {args.updates} updates and {args.saves} saves. {platform.machine()}, '
          f'torch {torch.__version__}\n', flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        print(guard_cost(model, batch, args.updates, args.saves, Path(folder)).table())


if __name__ == '__main__':
    main()
