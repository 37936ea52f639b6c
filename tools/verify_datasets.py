"""Reads the datasets of a config before a run: what is in them, and what is broken.

    python tools/verify_datasets.py configs/mask_caption_sft_4b.py --sample 10000 --workers 32

Every record by default. Prints a table, writes {out}/report.json and, with --write-skip-list, a
skip_list.jsonl below each dataset's root, which the datasets honour. Exit status 1 if a record
is broken or a mask had to be left out.
"""

import _root  # noqa: F401
import argparse
import json
import sys
from pathlib import Path

import numpy as np
from _config import add_config, add_data, chosen_names, read_config

from projects.mask_caption_sft.datasets.packs.convert import whole_dataset
from projects.mask_caption_sft.datasets.skip_list import SKIP_LIST, read_skip_list, write_skip_list
from projects.mask_caption_sft.evaluation.dataset_report import inspect, report_table, summarize


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_data(parser)
    parser.add_argument('--only', nargs='+', metavar='NAME', help='datasets of the mix, by name')
    parser.add_argument('--sample', type=int, help='read only this many records of each, evenly spaced')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/verify'))
    parser.add_argument('--write-skip-list', action='store_true')
    return parser.parse_args()


def add_to_skip_list(root: str, broken: list[tuple[str, str]]) -> None:
    """Keep what the list named before: those records were not read again."""
    path = Path(root) / SKIP_LIST
    known = read_skip_list(path) if path.exists() else set()
    lines = [json.loads(line) for line in path.read_text().splitlines()] if known else []
    before = [(line['sample_id'], line.get('reason', '')) for line in lines]
    write_skip_list(path, [*before, *broken])
    print(f'{path}: {len(before) + len(broken)} records')


def main() -> None:
    args = parse_args()
    datasets = read_config(args).train_dataloader.dataset.datasets
    summaries, missing = {}, []
    chosen = chosen_names(args.only, (name for name, declared in datasets.items() if declared is not None))
    for name, declared in datasets.items():
        if name not in chosen:
            continue
        try:
            dataset = whole_dataset(name, declared)
        except (OSError, ValueError) as error:
            missing.append(f'{name}: {error}')
            continue
        count = min(args.sample or len(dataset), len(dataset))
        rows = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)).tolist()
        print(f'{name}: {len(rows):,} of {len(dataset):,} records')
        summaries[name] = summarize(inspect(dataset, rows, args.workers), len(dataset))
        if args.write_skip_list and summaries[name]['broken_records']:
            add_to_skip_list(declared['data_root'], summaries[name]['broken_records'])
    print(report_table(summaries))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'report.json').write_text(json.dumps({'datasets': summaries, 'missing': missing}, indent=1))
    print(f'\nWrote {args.out}/report.json.')
    for problem in missing:
        print(f'error: {problem}')
    sys.exit(1 if missing or any(s['broken'] or s['masks_left_out'] for s in summaries.values()) else 0)


if __name__ == '__main__':
    main()
