"""Contact sheets of what the model gets: both views, prompt cells, masks and texts, after all transforms.

    python tools/browse_dataset.py configs/mask_caption_sft_4b.py --num 24 --out work_dirs/browse

One PNG per dataset of the mix, and more (NAME_2.png) where it would be higher than 4000 pixels. Broken
records are named. Where the format leaves the order of the
channels open (SA-V pairs), a warning says when skin looks blue.
"""

import _root  # noqa: F401
import argparse
import sys
from pathlib import Path

import numpy as np
from _config import add_config, add_data, chosen_names, read_config
from PIL import Image

from projects.mask_caption_sft.datasets.formats.channel_order import mostly_swapped, swap_evidence
from projects.mask_caption_sft.datasets.mix import build_dataset
from projects.mask_caption_sft.datasets.seeding import numpy_seed
from projects.mask_caption_sft.structures import BrokenRecord
from projects.mask_caption_sft.visualization.region_picture import contact_sheets
from projects.mask_caption_sft.visualization.sample_sheet import sample_strip


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_data(parser)
    parser.add_argument('--only', nargs='+', metavar='NAME', help='datasets, by name')
    parser.add_argument('--val', action='store_true', help='the datasets of val_dataloader')
    parser.add_argument('--num', type=int, default=12, help='records of each dataset, drawn at random')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/browse'))
    return parser.parse_args()


def browse(name: str, dataset, num: int, seed: int, out: Path) -> None:
    """Contact sheets; broken records are named instead."""
    rows = np.random.default_rng(seed).permutation(len(dataset))[:num]
    strips, evidence = [], []
    for row in rows.tolist():
        with numpy_seed(seed, row):
            sample = dataset[row]
        if isinstance(sample, BrokenRecord):
            print(f'{name}: {sample.sample_id}: {sample.reason}')
            continue
        strips.append(sample_strip(sample))
        pixels = sample.view1.g_pixel_values.permute(1, 2, 0).numpy()
        found = swap_evidence(pixels) if hasattr(dataset, 'channel_order') else None
        evidence += [] if found is None else [found]
    paths = []
    for number, sheet in enumerate(contact_sheets(strips), start=1):
        paths.append(out / (f'{name}.png' if number == 1 else f'{name}_{number}.png'))
        Image.fromarray(sheet).save(paths[-1])
    if paths:
        print(f'{name}: {len(strips)} of {len(dataset):,} records in {", ".join(map(str, paths))}')
    if mostly_swapped(evidence):
        print(
            f'warning: {name}: red and blue look exchanged, judging by skin. Look at {out / name}.png '
            'and set channel_order.'
        )


def main() -> None:
    args = parse_args()
    config = read_config(args)
    datasets = (config.val_dataloader if args.val else config.train_dataloader).dataset.datasets
    args.out.mkdir(parents=True, exist_ok=True)
    failed = False
    chosen = chosen_names(args.only, (name for name, declared in datasets.items() if declared is not None))
    for name, declared in datasets.items():
        if name not in chosen:
            continue
        try:
            dataset = build_dataset(name, declared)
        except (OSError, ValueError) as error:
            print(f'error: {name}: {error}')
            failed = True
            continue
        browse(name, dataset, args.num, args.seed, args.out)
    sys.exit(int(failed))


if __name__ == '__main__':
    main()
