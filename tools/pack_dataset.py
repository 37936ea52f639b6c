"""Packs a dataset of a config to LMDB: one file instead of millions.

    python tools/pack_dataset.py configs/mask_caption_sft_4b.py sav data/packs/sav --workers 32

Images that are files keep their bytes; frames of npz pairs become JPEG (or PNG, lossless, with --frames png),
and the loss is measured and printed. An interrupted run resumes. To train on packs:
configs/mask_caption_sft_4b_packed.py. --append adds what a dataset has more than a pack, or another dataset.
"""

import _root  # noqa: F401
import argparse
import json
import sys
from collections.abc import Sequence

from _config import add_config, add_shards, read_config

from projects.mask_caption_sft.datasets.mix import SHARE_KEYS
from projects.mask_caption_sft.datasets.packs.write import names_in_pack, write_pack
from projects.mask_caption_sft.datasets.packs.read import PackedRegions
from projects.mask_caption_sft.datasets.packs.merge import merge_packs, shard_folder
from projects.mask_caption_sft.datasets.packs.convert import (
    FrameEncoding,
    PackTask,
    encoding_loss,
    whole_dataset,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    parser.add_argument('name', help='name of the dataset in the mix (or in the validation set with --val)')
    parser.add_argument('out', help='folder of the pack')
    parser.add_argument('--val', action='store_true', help='the dataset of val_dataloader')
    parser.add_argument('--frames', choices=['jpeg', 'png'], default='jpeg')
    parser.add_argument('--quality', type=int, default=FrameEncoding.quality, help='quality of JPEG frames')
    parser.add_argument('--workers', type=int, default=2)
    add_shards(parser)
    parser.add_argument(
        '--append', action='store_true', help='add the records that the pack does not have, by name'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = read_config(args)
    datasets = (config.val_dataloader if args.val else config.train_dataloader).dataset.datasets
    if datasets.get(args.name) is None:
        sys.exit(f'error: no dataset {args.name!r}; the config has {", ".join(datasets)}.')
    declared = datasets[args.name]
    if args.append and (args.shard or args.merge):
        sys.exit('error: --append adds to a whole pack. Leave out --shard and --merge.')
    try:
        dataset = whole_dataset(args.name, declared)
        task = PackTask(dataset, FrameEncoding(args.frames, args.quality))
        source = {'dataset': declared['type'].__name__, 'frames': args.frames, 'quality': args.quality} | {
            key: repr(value)
            for key, value in sorted(declared.items())
            if key not in ('type', 'pipeline', *SHARE_KEYS)
        }
        rows: Sequence[int] = range(len(dataset))
        out = args.out
        if args.shard:
            rows, out = args.shard.rows(len(dataset)), str(shard_folder(out, args.shard))
        if args.append:
            there = names_in_pack(args.out)
            rows = [i for i in rows if dataset.short_id(dataset.get_data_info(i)['sample_id']) not in there]
        if args.merge:
            manifest = merge_packs(out, args.merge, args.workers)
        else:
            manifest = write_pack(out, rows, task, source, args.workers, args.append)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(json.dumps(manifest, indent=1))
    if manifest['records']:
        loss = encoding_loss(dataset, PackedRegions(data_root=out, max_masks=None))
        print(
            f'pixels: mean absolute error {loss["mean_abs_error"]:.3f} of 255, '
            f'lowest PSNR {loss["psnr"]:.1f} dB'
        )
    if manifest['broken']:
        print(f'{manifest["broken"]} records were not packed: {out}/not_packed.jsonl')


if __name__ == '__main__':
    main()
