"""Reads the datasets of a config before a run: what is in them, and what is broken.

    python tools/verify_datasets.py configs/mask_caption_sft_4b.py --sample 10000 --workers 32

Every record by default. Prints a table, writes a data card ({out}/report.json and data_card.md) and, with
--write-skip-list, a skip_list.jsonl below each dataset's root, which the datasets honour. With --val it reads
the validation data too, and names images that are in both. Exit status 1 if a record is broken, a mask had to
be left out, or images leak.
"""

import _root  # noqa: F401
import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from _config import add_config, add_data, add_shards, chosen_names, read_config

from projects.mask_caption_sft.datasets.packs.convert import whole_dataset
from projects.mask_caption_sft.datasets.remote.path import is_remote
from projects.mask_caption_sft.datasets.skip_list import SKIP_LIST, read_skip_list, write_skip_list
from projects.mask_caption_sft.evaluation.data_card import data_card
from projects.mask_caption_sft.evaluation.data_leaks import DataLeaks
from projects.mask_caption_sft.evaluation.dataset_report import RecordFacts, inspect, report_table, summarize
from projects.mask_caption_sft.evaluation.facts_files import facts_path, read_facts, write_facts


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_data(parser)
    parser.add_argument('--val', action='store_true', help='the datasets of val_dataloader too')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='datasets of the config, by name')
    parser.add_argument('--sample', type=int, help='read only this many records of each, evenly spaced')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/verify'))
    parser.add_argument('--write-skip-list', action='store_true')
    add_shards(parser)
    return parser.parse_args()


def skip_list_folder(args: argparse.Namespace, name: str, declared: dict) -> Path:
    """The dataset's root; nothing is written into a bucket, whose list the config has to name."""
    if not is_remote(declared['data_root']):
        return Path(declared['data_root'])
    folder = (args.out / name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    print(f'{name}: set skip_list={str(folder / SKIP_LIST)!r} in the config to leave out these records.')
    return folder


def add_to_skip_list(root: Path, broken: list[tuple[str, str]]) -> None:
    """Keep what the list named before: those records were not read again."""
    path = root / SKIP_LIST
    known = read_skip_list(path) if path.exists() else set()
    lines = [json.loads(line) for line in path.read_text().splitlines()] if known else []
    before = [(line['sample_id'], line.get('reason', '')) for line in lines]
    write_skip_list(path, [*before, *broken])
    print(f'{path}: {len(before) + len(broken)} records')


def declared_datasets(args: argparse.Namespace) -> dict[str, tuple[dict, bool]]:
    """What is read: declaration, and whether it is validated on, by name."""
    config = read_config(args)
    found = {
        name: (d, False) for name, d in config.train_dataloader.dataset.datasets.items() if d is not None
    }
    if args.val and config.get('val_dataloader'):
        val = {name: d for name, d in config.val_dataloader.dataset.datasets.items() if d is not None}
        found |= {f'{name} (val)' if name in found else name: (d, True) for name, d in val.items()}
    chosen = chosen_names(args.only, found)
    return {name: found[name] for name in found if name in chosen}


def facts_of(args: argparse.Namespace, name: str, declared: dict) -> tuple[int, Iterable[RecordFacts]] | None:
    """Number of records, and what is found in them; None for a shard, whose facts go to a file."""
    if args.merge:
        return read_facts(args.out, name, args.merge)
    dataset = whole_dataset(name, declared)
    count = min(args.sample or len(dataset), len(dataset))
    rows = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)).tolist()
    if args.shard:
        own = [rows[i] for i in args.shard.rows(len(rows))]
        print(f'{name}: {len(own):,} of {len(dataset):,} records')
        write_facts(facts_path(args.out, name, args.shard), dataset, own, len(rows), args.workers)
        return None
    print(f'{name}: {len(rows):,} of {len(dataset):,} records')
    return len(dataset), inspect(dataset, rows, args.workers)


def main() -> None:
    args = parse_args()
    summaries, missing, leaks = {}, [], DataLeaks()
    for name, (declared, is_val) in declared_datasets(args).items():
        try:
            facts = facts_of(args, name, declared)
        except (OSError, ValueError) as error:
            missing.append(f'{name}: {error}')
            continue
        if facts is None:
            continue
        summaries[name] = summarize(leaks.watch(name, is_val, facts[1]), facts[0])
        if args.write_skip_list and summaries[name]['broken_records']:
            add_to_skip_list(skip_list_folder(args, name, declared), summaries[name]['broken_records'])
    if not args.shard:
        report(args, summaries, leaks.found(), missing)
    for problem in missing:
        print(f'error: {problem}')
    found = any(s['broken'] or s['masks_left_out'] for s in summaries.values())
    sys.exit(1 if missing or found or leaks.found() else 0)


def report(args: argparse.Namespace, summaries: dict, leaks: list[dict], missing: list[str]) -> None:
    """Print the table and write the files."""
    print(report_table(summaries))
    for leak in leaks:
        print(f'LEAK: {leak["count"]} of {leak["val"]} are in {leak["train"]} too: {leak["examples"][0]}')
    args.out.mkdir(parents=True, exist_ok=True)
    content = {'datasets': summaries, 'leaks': leaks, 'missing': missing}
    (args.out / 'report.json').write_text(json.dumps(content, indent=1))
    (args.out / 'data_card.md').write_text(data_card(args.config, summaries, leaks, missing))
    print(f'\nWrote {args.out}/report.json and data_card.md.')


if __name__ == '__main__':
    main()
