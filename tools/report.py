"""Writes one self-contained HTML page about a run.

python tools/report.py work_dirs/quickstart
"""

import _root  # noqa: F401
import argparse
import sys
from pathlib import Path

from projects.mask_caption_sft.reporting.html_report import html_report
from projects.mask_caption_sft.reporting.run_log import read_run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--out', type=Path, help='default: WORK_DIR/report.html')
    args = parser.parse_args()
    try:
        page = html_report(read_run(args.work_dir))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    out = args.out or args.work_dir / 'report.html'
    out.write_text(page)
    print(f'Wrote {out}.')


if __name__ == '__main__':
    main()
