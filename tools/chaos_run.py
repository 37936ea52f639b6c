"""Kills, starves and misleads real trainings, and checks that nothing is lost.

    python tools/chaos_run.py --work-dir work_dirs/chaos --kills 50

Short trainings of the tiny world by tools/train.py are disturbed, resumed as a user would, and compared bit
by bit with one that was left alone: student, teacher and optimizer. Prints a Markdown table, which is also in
{work-dir}/table.md; ends with 1 if anything was lost.
"""

import _root
import argparse
import os
import sys
import time
from pathlib import Path

# Before torch is imported: two ranks on few cores would get in each other's way, and this process forks.
os.environ['OMP_NUM_THREADS'] = '1'

import train

from projects.mask_caption_sft.chaos.campaign import Campaign
from projects.mask_caption_sft.chaos.faults import FAULTS, LONG, LONG_UPDATES, SHORT_UPDATES
from projects.mask_caption_sft.chaos.outcome import Outcome, table
from projects.mask_caption_sft.chaos.quick_start import import_ahead, leave_out_ceremony
from projects.mask_caption_sft.chaos.training import Training, write_place


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--work-dir', type=Path, required=True, help='new or empty; runs and output stay there'
    )
    parser.add_argument('--kills', type=int, default=50, help='SIGKILLs at random moments')
    parser.add_argument('--seed', type=int, default=0, help='chooses the moments')
    parser.add_argument('--processes', type=int, default=1, help='ranks of each training')
    parser.add_argument('--updates', type=int, default=16, help='length of each training; a multiple of 4')
    parser.add_argument('--only', nargs='+', choices=FAULTS, metavar='FAULT', help=', '.join(FAULTS))
    args = parser.parse_args()
    needed = LONG_UPDATES if set(args.only or FAULTS) & set(LONG) else SHORT_UPDATES
    if args.updates < needed or args.updates % 4:
        parser.error(f'--updates {args.updates} is not enough, or no multiple of 4: give {needed} or more')
    if args.work_dir.exists() and any(args.work_dir.iterdir()):
        parser.error(f'--work-dir {args.work_dir} is not empty')
    return args


def main() -> None:
    args = parse_args()
    folder = args.work_dir.resolve()
    write_place(folder / 'place')
    tools, configs = _root.ROOT / 'tools', _root.ROOT / 'configs'
    training = Training(
        main=train.main, tools=tools, config=configs / 'mask_caption_sft_tiny.py',
        place=folder / 'place', updates=args.updates, processes=args.processes,
    )  # fmt: skip
    leave_out_ceremony()
    import_ahead(training.config)
    campaign = Campaign(training, folder, args.seed, args.kills)
    outcomes: list[Outcome] = []
    for name in args.only or FAULTS:
        start = time.monotonic()
        try:
            outcomes += FAULTS[name](campaign)
        except (
            RuntimeError,
            OSError,
        ) as error:  # a run that hangs or ends where it must not; the rest goes on
            outcomes.append(
                Outcome(name, times=1, recovered=0, problems=[f'{type(error).__name__}: {error}'])
            )
        print(f'{name}: {time.monotonic() - start:.0f} s', flush=True)
        (folder / 'table.md').write_text(table(outcomes) + '\n')
    print(table(outcomes))
    if not all(outcome.is_good for outcome in outcomes):
        sys.exit(1)


if __name__ == '__main__':
    main()
