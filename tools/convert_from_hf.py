"""Writes a directory in the released layout as upstream's training `.pth` (its `pretrained_pth`).

    python tools/convert_from_hf.py --model_path OUT --output_path sa2va_4b_ours.pth
    python tools/convert_from_hf.py --model_path OUT --output_path sa2va_4b_ours.pth --trainer v2

The names are those that upstream's trainer has when it loads the file. v1 (`projects/llava_sam2`, where the
config of Sa2VA-4B is) has by then wrapped its language model in LoRA: the weights under LoRA are called
`base_layer`; they include merged LoRA, and fresh LoRA starts at zero. v2 (`projects/sa2va`) loads first and
wraps afterwards, so its names are plain; they also fit v1 without LoRA.
"""

import _root  # noqa: F401
import argparse
import sys
from pathlib import Path

import torch

from projects.mask_caption_sft.engine.atomic_backend import AtomicBackend
from projects.mask_caption_sft.checkpoints.upstream_file import TRAINERS, upstream_state


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--model_path',
        '--model-path',
        required=True,
        help='directory in the released layout, or of an adapter',
    )  # fmt: skip
    parser.add_argument('--output_path', '--output-path', type=Path, required=True, help='the .pth to write')
    parser.add_argument(
        '--trainer', choices=TRAINERS, default='v1', help='version of the trainer (default: v1)'
    )
    parser.add_argument('--base', help='the base of an adapter, if it names no directory here')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.output_path.exists() and not args.overwrite:
        sys.exit(f'error: {args.output_path} exists. Choose another --output_path, or pass --overwrite.')
    try:
        state = upstream_state(args.model_path, args.trainer, args.base)
        with AtomicBackend().replacing(args.output_path) as temporary:
            torch.save({'state_dict': state, 'meta': {'converted_from': args.model_path}}, temporary)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f"Wrote {args.output_path}: {len(state)} tensors for upstream's trainer {args.trainer}.")
    print('The trainer of the other version would silently ignore most of them (--trainer).')


if __name__ == '__main__':
    main()
