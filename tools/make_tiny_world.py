"""Writes the tiny world: four datasets in their real formats, and two small Sa2VA to start from.

    python tools/make_tiny_world.py --out data/tiny_world

Layout: {out}/train/{sav,sa1b,openimages}, {out}/val/{sav,sa1b}, {out}/refcoco (splits train and val),
{out}/sa2va_tiny (on InternVL) and {out}/sa2va_tiny_qwen3_vl (released layout). The same seed writes the same
bytes.
"""

import _root  # noqa: F401
import argparse
import time
from pathlib import Path

from projects.mask_caption_sft.tiny_world.world import write_world


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('data/tiny_world'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num-train', type=int, default=400, help='pairs or images per training set')
    parser.add_argument('--num-val', type=int, default=40, help='pairs or images per held-out set')
    parser.add_argument(
        '--all-expressions', action='store_true',
        help='human training expressions cover all colours, shapes and backgrounds, not only some',
    )  # fmt: skip
    parser.add_argument(
        '--random-base',
        action='store_true',
        help='randomly initialised bases instead of the trained ones',
    )
    parser.add_argument(
        '--reuse', action='store_true', help='write nothing if this code has already written the same world'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    start = time.perf_counter()
    is_new = write_world(
        args.out, args.seed, args.num_train, args.num_val,
        limited_expressions=not args.all_expressions, trained_base=not args.random_base, reuse=args.reuse,
    )  # fmt: skip
    print(f'Wrote {args.out} in {time.perf_counter() - start:.0f} s.' if is_new else f'{args.out} is there.')


if __name__ == '__main__':
    main()
