"""Writes a checkpoint back in Sa2VA's released Hugging Face layout, or as a PEFT adapter over its base.

    python tools/convert_to_hf.py --model_path work_dirs/mask_caption_sft_4b/iter_4000.pth --output_dir OUT
    python tools/convert_to_hf.py --model_path RUN/iter_4000.pth --output_dir OUT --adapter --push ME/NAME
    python tools/convert_to_hf.py --model_path ADAPTER --base BASE --output_dir OUT
    python tools/convert_to_hf.py --model_path RUN/iter_4000.pth --output_dir OUT \\
        --code SA2VA/projects/sa2va/hf/models/modeling_sa2va_chat.py

The base is the one the checkpoint started from; --base gives another copy of it. Upstream's own training
checkpoints (`.pth` with `mllm.model...` names) are read too; they need --base. The base's own code travels
along; --code puts another version of a file in its place (docs/upstream_scripts.md).
"""

import _root  # noqa: F401
import argparse
import sys

from projects.mask_caption_sft.checkpoints.export import export, export_adapter, report
from projects.mask_caption_sft.checkpoints.hub_id import hub_id
from projects.mask_caption_sft.checkpoints.model_card import model_card
from projects.mask_caption_sft.checkpoints.processor_note import processor_note
from projects.mask_caption_sft.checkpoints.push import push_folder
from projects.mask_caption_sft.checkpoints.remote_code import evaluation_note
from projects.mask_caption_sft.checkpoints.source import trained_source


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model_path', '--model-path', required=True, help='the .pth, or the adapter')
    parser.add_argument('--output_dir', '--output-dir', required=True)
    parser.add_argument('--base', help='the directory that training started from')
    parser.add_argument('--teacher', action='store_true', help='export the averaged weights')
    parser.add_argument(
        '--lora-scaling', type=float, default=2.0,
        help='lora_alpha / r of an upstream checkpoint (256 / 128); ours hold their own',
    )  # fmt: skip
    parser.add_argument('--adapter', action='store_true', help='write only what was trained, for peft')
    parser.add_argument('--base-model', metavar='ORG/NAME', help="the base's name on the Hugging Face Hub")
    parser.add_argument('--push', metavar='ORG/NAME', help='then upload it to this repository of the Hub')
    parser.add_argument('--public', action='store_true', help='let everybody see a repository that is made')
    parser.add_argument(
        '--code', metavar='FILE', action='append', default=[],
        help="a file of Python beside the weights, instead of the base's of that name; may be repeated",
    )  # fmt: skip
    parser.add_argument('--overwrite', action='store_true', help='replace an existing directory')
    parser.add_argument('--allow-unchanged', action='store_true', help='write although nothing was trained')
    return parser.parse_args()


def convert(args: argparse.Namespace) -> str:
    """Write the directory; returns the table of changes."""
    side = 'teacher' if args.teacher else 'student'
    source = trained_source(args.model_path, args.base, side, args.lora_scaling)
    base_model = args.base_model or hub_id(source.base)
    if args.code and args.adapter:
        raise ValueError('An adapter brings no code along: --code is for a whole export.')
    if args.push and args.adapter and base_model is None:
        raise ValueError(
            f'{source.base} does not say what the base is called on the Hub, and an adapter is nothing '
            'without it. Give its name with --base-model ORG/NAME.'
        )

    def card(changes: str) -> str:
        return model_card(
            source.checkpoint,
            args.model_path,
            source.base,
            side,
            changes,
            args.adapter,
            base_model,
            args.push,
        )

    written = (args.output_dir, card)
    rules = (args.overwrite, args.allow_unchanged)
    if args.adapter:
        name = base_model or source.base
        return report(export_adapter(source.weights, source.trained, *written, name, *rules))
    return report(export(source.base, source.trained, *written, *rules, args.code))


def main() -> None:
    args = parse_args()
    try:
        table = convert(args)
        print(f'{table}\n\nWrote {args.output_dir}.')
        if not args.adapter:
            for note in (evaluation_note(args.output_dir), processor_note(args.output_dir)):
                if note:
                    print(note)
        if args.push:
            print(f'Pushed: {push_folder(args.output_dir, args.push, args.public)}')
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
