"""Searches for better settings in the space that a config declares (`search_space`).

    pip install -r requirements-search.txt
    python tools/search.py configs/mask_caption_sft_tiny_search.py --trials 20 --jobs 2

Each trial is a run of tools/train.py; one whose validation is below the median of the others is ended. The
study is in a SQLite file: called again, the search goes on until there are so many trials, and several
shells, or the tasks of a Slurm array, share it. Writes a table and a plot of which settings matter.
"""

import _root
import argparse
import importlib.util
import sys
from pathlib import Path

from _config import add_config, read_config

from projects.mask_caption_sft.engine.settings import setting


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    parser.add_argument('--trials', type=int, default=20, help='trials of the study, earlier ones included')
    parser.add_argument('--jobs', type=int, default=1, help='trials at once in this process')
    parser.add_argument('--out', type=Path, help='default: work_dirs/search/{config name}')
    parser.add_argument('--storage', help='of the study; default: sqlite:///OUT/study.db')
    parser.add_argument('--metric', help="default: the config's default_hooks.checkpoint.save_best")
    parser.add_argument('--minimize', action='store_true', help='a smaller metric is better')
    parser.add_argument('--startup', type=int, default=4, help='trials before any is ended early')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if importlib.util.find_spec('optuna') is None:
        sys.exit('error: the search needs optuna. Run `pip install -r requirements-search.txt`.')
    from projects.mask_caption_sft.searching.results import importances, plot_importances, trials_table
    from projects.mask_caption_sft.searching.search import search
    from projects.mask_caption_sft.searching.space import read_space

    config = read_config(args)
    out = args.out or Path('work_dirs/search') / Path(args.config).stem
    out.mkdir(parents=True, exist_ok=True)
    options = [f'{key}={value}' for key, value in args.cfg_options.items()]
    train = [sys.executable, str(_root.ROOT / 'tools' / 'train.py'), args.config]
    try:
        study = search(
            read_space(config), train, options, out, args.storage or f'sqlite:///{out}/study.db',
            args.metric or setting(config, 'default_hooks.checkpoint.save_best'),
            args.trials, args.jobs, args.startup, args.minimize,
        )  # fmt: skip
    except ValueError as error:
        sys.exit(f'error: {error}')
    table, found = trials_table(study), importances(study)
    (out / 'trials.md').write_text(table + '\n')
    print(table)
    if found:
        plot_importances(found, out / 'importance.png')
    more = f' and {out}/importance.png' if found else '; too few trials for a plot of importance'
    print(f'\nWrote {out}/trials.md{more}.')


if __name__ == '__main__':
    main()
