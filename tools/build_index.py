"""Builds the mask indexes of a config's SA-1B and OpenImages datasets, once, before the first run.

    python tools/build_index.py configs/mask_caption_sft_4b.py --workers 32

Each index is written to {data_root}/.mask_index and replaces an older one. An interrupted build resumes.
"""

import _root  # noqa: F401
import argparse
import sys

from _config import add_config, read_config

from projects.mask_caption_sft.datasets import SA1B, OpenImages
from projects.mask_caption_sft.datasets.index.columns import build_openimages_index, build_sa1b_index

_BUILDERS = {SA1B: build_sa1b_index, OpenImages: build_openimages_index}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    parser.add_argument('--only', nargs='+', metavar='NAME', help='datasets of the mix, by name')
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    datasets = read_config(args).train_dataloader.dataset.datasets
    for name, declared in datasets.items():
        builder = _BUILDERS.get(declared['type']) if declared is not None else None
        if builder is None or (args.only and name not in args.only):
            continue
        keys = ('index_dir', 'ann_file', 'class_file')
        print(f'{name}: {declared["data_root"]}')
        try:
            index = builder(
                declared['data_root'], args.workers, **{key: declared[key] for key in keys if key in declared}
            )
        except OSError as error:
            sys.exit(f'error: {error}. Set train_dataloader.dataset.datasets.{name}.data_root.')
        broken = index.info['broken']
        print(f'{name}: {len(index):,} images, {index.info["masks"]:,} masks, {len(broken)} broken')
        for path, reason in broken.items():
            print(f'  {path}: {reason}')


if __name__ == '__main__':
    main()
