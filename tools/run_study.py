"""Runs several configs with several seeds, resumes where it stopped, and writes a table and a plot.

    python tools/run_study.py --seeds 0 1 2 --jobs 2

By default it runs the configs of the study on the tiny world; --configs names others. A run that is complete
is not run again; one that was interrupted is resumed. --report-only writes the table from what is there.
"""

import _root  # noqa: F401
import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from projects.mask_caption_sft.reporting.run_log import RunLog, read_run
from projects.mask_caption_sft.reporting.study import plot_curves, results_table

TINY = 'configs/mask_caption_sft_tiny'
CONFIGS = {
    '(a) no loop, human expressions only': f'{TINY}_no_loop.py',
    '(b) caption detached': f'{TINY}_detached.py',
    '(c) soft tokens': f'{TINY}_soft_tokens.py',
    '(c) straight-through': f'{TINY}_straight_through.py',
    '(c) selection from the start, as in the 4B config': f'{TINY}_selection.py',
    '(d) full loop (default)': f'{TINY}.py',
    '(e) without KL': f'{TINY}_no_anchors.py',
    '(f) frozen teacher': f'{TINY}_frozen_teacher.py',
    '(g) student segments in stage 2': f'{TINY}_student_segments.py',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--configs', nargs='+', help='config files instead of the default study')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/study'))
    parser.add_argument('--jobs', type=int, default=1, help='runs at once, one thread each')
    parser.add_argument('--curve', default='signal/caption_iou', help='what the plot shows')
    parser.add_argument('--report-only', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='for every run')
    return parser.parse_args()


def run_one(config: str, seed: int, work_dir: Path, options: list[str]) -> None:
    """Train one config with one seed, unless that is done."""
    if (work_dir / 'done').exists():
        print(f'{work_dir}: done before')
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir)]
    if any(work_dir.glob('iter_*.pth')):
        command.append('--resume')
    seeds = [f'randomness.seed={seed}', f'train_dataloader.dataset.seed={seed}']
    command += ['--cfg-options', *seeds, *options]
    print(f'{work_dir}: started', flush=True)
    with (work_dir / 'output.txt').open('a') as output:
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | {'OMP_NUM_THREADS': '1'}
        ).returncode
    if status:
        print(f'{work_dir}: FAILED with status {status}, see output.txt', flush=True)
    else:
        (work_dir / 'done').touch()
        print(f'{work_dir}: done', flush=True)


def collect(out: Path, titles: dict[str, str], seeds: list[int]) -> dict[str, list[RunLog]]:
    """Logs of the complete runs by title."""
    runs = {}
    for title, config in titles.items():
        folders = [out / Path(config).stem / f'seed{seed}' for seed in seeds]
        logs = [read_run(folder) for folder in folders if (folder / 'done').exists()]
        if logs:
            runs[title] = logs
    return runs


def main() -> None:
    args = parse_args()
    titles = {Path(c).stem: c for c in args.configs} if args.configs else CONFIGS
    if not args.report_only:
        with ThreadPoolExecutor(args.jobs) as pool:
            for seed in args.seeds:
                for config in titles.values():
                    work_dir = args.out / Path(config).stem / f'seed{seed}'
                    pool.submit(run_one, config, seed, work_dir, args.cfg_options)
    runs = collect(args.out, titles, args.seeds)
    if not runs:
        sys.exit(f'error: no complete run in {args.out}.')
    (args.out / 'table.md').write_text(results_table(runs) + '\n')
    plot_curves(runs, args.curve, args.out / 'curves.png')
    print(results_table(runs))
    print(f'\nWrote {args.out}/table.md and {args.out}/curves.png.')


if __name__ == '__main__':
    main()
