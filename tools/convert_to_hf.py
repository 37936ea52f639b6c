"""Writes a checkpoint back in Sa2VA's released Hugging Face layout.

    python tools/convert_to_hf.py --model_path work_dirs/mask_caption_sft_4b/iter_4000.pth --output_dir OUT

The base is the one the checkpoint started from; --base gives another copy of it. Upstream's own training
checkpoints (`.pth` with `mllm.model...` names) are read too; they need --base.
"""

import _root  # noqa: F401
import argparse
import sys

from projects.mask_caption_sft.checkpoints.config import read_config
from projects.mask_caption_sft.checkpoints.export import export, report
from projects.mask_caption_sft.checkpoints.key_map import key_map_of
from projects.mask_caption_sft.checkpoints.model_card import model_card
from projects.mask_caption_sft.checkpoints.training_file import (
    check_fingerprint,
    find_base,
    read_checkpoint,
    trained_tensors,
)
from projects.mask_caption_sft.checkpoints.released import ReleasedWeights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model_path', '--model-path', required=True, help='the .pth to write back')
    parser.add_argument('--output_dir', '--output-dir', required=True)
    parser.add_argument('--base', help='the directory that training started from')
    parser.add_argument('--teacher', action='store_true', help='export the averaged weights')
    parser.add_argument(
        '--lora-scaling', type=float, default=2.0,
        help='lora_alpha / r of an upstream checkpoint (256 / 128); ours hold their own',
    )  # fmt: skip
    parser.add_argument('--overwrite', action='store_true', help='replace an existing directory')
    parser.add_argument('--allow-unchanged', action='store_true', help='write although nothing was trained')
    return parser.parse_args()


def convert(args: argparse.Namespace) -> str:
    """Write the directory; returns the table of changes."""
    side = 'teacher' if args.teacher else 'student'
    checkpoint = read_checkpoint(args.model_path)
    base = find_base(checkpoint, args.base)
    check_fingerprint(checkpoint, base, ReleasedWeights(base).fingerprint())
    trained = trained_tensors(checkpoint, side, args.lora_scaling, key_map_of(read_config(base)))

    def card(changes: str) -> str:
        return model_card(checkpoint, args.model_path, base, side, changes)

    changes = export(base, trained, args.output_dir, card, args.overwrite, args.allow_unchanged)
    return report(changes)


def main() -> None:
    args = parse_args()
    try:
        table = convert(args)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'{table}\n\nWrote {args.output_dir}.')


if __name__ == '__main__':
    main()
