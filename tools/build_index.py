"""Makes the mask tables of a config's datasets before the first run, which would make them itself.

    python tools/build_index.py configs/mask_caption_sft_4b.py --workers 32

The tables of training and validation are written to {data_root}/.mask_index, or where index_dir says. All
files are looked at; what has changed since is read again. An interrupted build goes on; a second one waits.
"""

import _root  # noqa: F401
import argparse
import sys

from _config import add_config, add_data, add_shards, chosen_names, read_config

from projects.mask_caption_sft.datasets.mix import build_dataset
from projects.mask_caption_sft.datasets.shards import Shard
from projects.mask_caption_sft.datasets.tabled import TabledDataset

PLACES = ('train_dataloader', 'val_dataloader')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_data(parser)
    parser.add_argument('--only', nargs='+', metavar='NAME', help='datasets of the config, by name')
    parser.add_argument('--workers', type=int, default=2)
    add_shards(parser)
    return parser.parse_args()


def build(name: str, declared: dict, num_workers: int, shard: Shard | None, is_merge: bool) -> None:
    """Make one dataset's table, or a shard of it, and say what is in it.

    Raises:
        ValueError: The shards that are merged leave out parts.
    """
    dataset = build_dataset(name, declared, lazy_init=True, pipeline=())
    dataset.check_path(dataset.data_root)
    if shard is not None:
        own, of_all = dataset.build_shard(shard, num_workers)
        print(f'{name}: {own} of {of_all} parts of the table are there')
        return
    if is_merge and (missing := dataset.missing_parts()):
        first = ', '.join(f'{len(names)} files from {names[0]} on' for _, names in missing[:3])
        raise ValueError(
            f'{len(missing)} parts of the table are missing: {first}. Run the missing shards again, or leave '
            'out --merge to make them now.'
        )
    table = dataset.open_table(num_workers, look_at_all=True)
    counts = f'{table.info["records"]:,} records, {table.info["masks"]:,} masks, {len(table.faults)} broken'
    print(f'{name}: {counts}, in {table.folder}')
    for record, reason in table.faults:
        print(f'  {record}: {reason}')


def main() -> None:
    args = parse_args()
    config = read_config(args)
    missing = 0
    loaders = [loader for place in PLACES if (loader := config.get(place))]
    chosen = chosen_names(args.only, [name for loader in loaders for name in loader.dataset.datasets])
    for place in PLACES:
        loader = config.get(place)
        for name, declared in (loader.dataset.datasets if loader else {}).items():
            if declared is None or name not in chosen:
                continue
            if not issubclass(declared['type'], TabledDataset):
                continue
            try:
                build(name, declared, args.workers, args.shard, args.merge is not None)
            except (OSError, ValueError) as error:
                print(f'error: {name}: {error} ({place}.dataset.datasets.{name})', file=sys.stderr)
                missing += 1
    sys.exit(1 if missing else 0)


if __name__ == '__main__':
    main()
