"""Writes a directory in the released layout as upstream's training `.pth` (its `pretrained_pth`).

    python tools/convert_from_hf.py --model_path OUT --output_path sa2va_4b_ours.pth

The names are those of upstream's trainer: `mllm.model...`, its language model wrapped by LoRA (the weights
under LoRA are `base_layer`; merged LoRA is part of them, fresh LoRA starts at zero). --no-lora writes the
names of a trainer without LoRA.
"""

import _root  # noqa: F401
import argparse
import sys
from pathlib import Path

import torch

from projects.mask_caption_sft.engine.atomic_backend import AtomicBackend
from projects.mask_caption_sft.checkpoints.upstream_file import upstream_state


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--model_path', '--model-path', required=True, help='directory in the released layout'
    )
    parser.add_argument('--output_path', '--output-path', type=Path, required=True, help='the .pth to write')
    parser.add_argument('--no-lora', action='store_true', help='for a trainer without LoRA')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.output_path.exists() and not args.overwrite:
        sys.exit(f'error: {args.output_path} exists. Choose another --output_path, or pass --overwrite.')
    try:
        state = upstream_state(args.model_path, with_lora=not args.no_lora)
        with AtomicBackend().replacing(args.output_path) as temporary:
            torch.save({'state_dict': state, 'meta': {'converted_from': args.model_path}}, temporary)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'Wrote {args.output_path}: {len(state)} tensors.')


if __name__ == '__main__':
    main()
